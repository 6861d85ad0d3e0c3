"""Questions about cost and their answers, between the wire and values; both ends use it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import report_pb2 as wire
from inferno_governator.analysis.breakdown import Dimension, Filters, Line, Sums
from inferno_governator.analysis.change import Change
from inferno_governator.analysis.cost_report import Bucket, Compared, CostReport, Question, Timeline
from inferno_governator.analysis.items import Purpose
from inferno_governator.analysis.periods import PREVIOUS, Period, compared, named, period
from inferno_governator.analysis.unit_cost import nanos_per
from inferno_runtime.errors import InvalidInput

_DIMENSIONS = {dimension: wire.CostDimension.Value(f"COST_DIMENSION_{dimension.name}") for dimension in Dimension}
_FROM_WIRE: dict[int, Dimension] = {number: dimension for dimension, number in _DIMENSIONS.items()}
_PURPOSES = {purpose: wire.CostPurpose.Value(f"COST_PURPOSE_{purpose.name}") for purpose in Purpose}
_PURPOSES_FROM_WIRE = {number: purpose for purpose, number in _PURPOSES.items()}
# The sums' names here and there.
_SUMS = {
    "cost_micros": "cost_micros",
    "idle_micros": "idle_micros",
    "overhead_micros": "overhead_micros",
    "unused_micros": "unused_micros",
    "paid_micros": "paid_time_micros",
    "worked_micros": "worked_time_micros",
    "requests": "requests",
    "errors": "errors",
    "inferences": "inferences",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "request_micros": "request_time_micros",
    "queue_micros": "queue_time_micros",
    "compute_micros": "compute_time_micros",
}
_PARTS = tuple(f"{name}_micros" for name in ("before", "after", "price", "demand", "idle", "effort", "models", "nodes"))
_RATIOS = ("price_ratio", "demand_ratio", "utilization_before", "utilization_after")


def decode_question(asked: wire.ExplainCostRequest, now: float) -> Question:
    """What is asked, at a time (Unix seconds).

    Raises:
        InvalidInput: It cannot be answered.
    """
    over = decode_period(asked.period, now)
    compare = None
    if asked.HasField("compare"):
        if asked.compare.name == PREVIOUS:
            compare = compared(PREVIOUS, over, asked.period.name, now)
        else:
            compare = decode_period(asked.compare, now)
    by = [_dimension(number) for number in asked.group_by]
    if len(set(by)) < len(by):
        raise InvalidInput(
            "A dimension is there twice.", reason="BAD_DIMENSION", fix="Group by each dimension at most once."
        )
    return Question(over, tuple(by), decode_filters(asked.filters), asked.line_limit, compare, asked.timeline)


def decode_period(asked: wire.CostPeriod, now: float) -> Period:
    """The minutes that are asked about.

    Raises:
        InvalidInput: They are none, or two ways to name them contradict each other.
    """
    start = asked.start.seconds if asked.HasField("start") else None
    end = asked.end.seconds + bool(asked.end.nanos) if asked.HasField("end") else None
    if not asked.name:
        return period(start, end, now)
    if start is not None or end is not None:
        raise InvalidInput(
            "A period has a name and ends of its own.", reason="BAD_PERIOD", fix="Give either its name or its ends."
        )
    return named(asked.name, now)


def decode_filters(asked: Sequence[wire.CostFilter]) -> Filters:
    """The values that are let through, for each dimension that is filtered by."""
    wanted: dict[Dimension, frozenset[str]] = {}
    for each in asked:
        dimension, values = _dimension(each.dimension), frozenset(each.values)
        wanted[dimension] = wanted[dimension] & values if dimension in wanted else values
    return wanted


def _dimension(number: int) -> Dimension:
    if number not in _FROM_WIRE:
        raise InvalidInput(
            f"{number} is no dimension of a bill.",
            reason="BAD_DIMENSION",
            fix=f"Known are {', '.join(f'{known} ({each.value})' for known, each in _FROM_WIRE.items())}.",
        )
    return _FROM_WIRE[number]


def encode_filters(where: Filters) -> list[wire.CostFilter]:
    """Filters as they are sent."""
    return [
        wire.CostFilter(dimension=_DIMENSIONS[dimension], values=sorted(values)) for dimension, values in where.items()
    ]


def encode_dimensions(by: Sequence[Dimension]) -> list[wire.CostDimension.ValueType]:
    """Dimensions as they are sent."""
    return [_DIMENSIONS[dimension] for dimension in by]


def encode(report: CostReport) -> wire.ExplainCostResponse:
    """A report as it is sent."""
    return wire.ExplainCostResponse(
        period=_encode_period(report.period),
        group_by=encode_dimensions(report.by),
        filters=encode_filters(report.where),
        lines=[
            wire.CostGroup(
                values=each.line.values,
                purpose=_PURPOSES[each.line.purpose] if each.line.purpose else wire.COST_PURPOSE_UNSPECIFIED,
                others=each.line.others,
                sums=_encode_sums(each.line.sums),
                before_micros=each.before_micros,
            )
            for each in report.lines
        ],
        total=_encode_sums(report.total),
        bill_micros=report.bill_micros,
        compared_with=_encode_period(report.compared_with) if report.compared_with else None,
        change=_encode_change(report.change) if report.change else None,
        timeline=_encode_timeline(report.timeline) if report.timeline else None,
    )


def decode(answer: wire.ExplainCostResponse) -> CostReport:
    """A report as it was before it was sent, its ratios to the precision of a double."""
    return CostReport(
        period=_decode_period(answer.period),
        by=tuple(_dimension(number) for number in answer.group_by),
        where=decode_filters(answer.filters),
        lines=tuple(
            Compared(
                Line(tuple(each.values), _PURPOSES_FROM_WIRE.get(each.purpose), _decode_sums(each.sums), each.others),
                each.before_micros if each.HasField("before_micros") else None,
            )
            for each in answer.lines
        ),
        total=_decode_sums(answer.total),
        bill_micros=answer.bill_micros,
        compared_with=_decode_period(answer.compared_with) if answer.HasField("compared_with") else None,
        change=_decode_change(answer.change) if answer.HasField("change") else None,
        timeline=_decode_timeline(answer.timeline) if answer.HasField("timeline") else None,
    )


def _encode_period(over: Period) -> wire.CostPeriod:
    return wire.CostPeriod(start=Timestamp(seconds=over.start_minute * 60), end=Timestamp(seconds=over.end_minute * 60))


def _decode_period(over: wire.CostPeriod) -> Period:
    return Period(over.start.seconds // 60, over.end.seconds // 60)


def _encode_sums(sums: Sums) -> wire.CostSums:
    return wire.CostSums(
        **{there: getattr(sums, here) for here, there in _SUMS.items()},
        nanos_per_request=nanos_per(sums.cost_micros, sums.requests),
        nanos_per_1k_tokens=nanos_per(sums.cost_micros, sums.tokens, 1_000),
        nanos_per_1k_inferences=nanos_per(sums.cost_micros, sums.inferences, 1_000),
    )


def _decode_sums(sums: wire.CostSums) -> Sums:
    return Sums(**{here: getattr(sums, there) for here, there in _SUMS.items()})


def _encode_change(made: Change) -> wire.CostChange:
    sent = wire.CostChange(**{name: getattr(made, name) for name in _PARTS})
    for name in _RATIOS:
        if (ratio := getattr(made, name)) is not None:
            setattr(sent, name, float(ratio))
    return sent


def _decode_change(sent: wire.CostChange) -> Change:
    present = {field.name: value for field, value in sent.ListFields()}
    ratios = {name: Fraction(present[name]) if name in present else None for name in _RATIOS}
    return Change(
        **{name: getattr(sent, name) for name in _PARTS},
        price_ratio=ratios["price_ratio"],
        demand_ratio=ratios["demand_ratio"],
        utilization_before=ratios["utilization_before"],
        utilization_after=ratios["utilization_after"],
    )


def _encode_timeline(timeline: Timeline) -> wire.CostTimeline:
    return wire.CostTimeline(
        step_minutes=timeline.step_minutes,
        lines=timeline.lines,
        buckets=[
            wire.CostBucket(
                start=Timestamp(seconds=bucket.start_minute * 60),
                cost_micros=bucket.cost_micros,
                paid_time_micros=bucket.paid_micros,
                worked_time_micros=bucket.worked_micros,
                line_micros=bucket.line_micros,
            )
            for bucket in timeline.buckets
        ],
    )


def _decode_timeline(timeline: wire.CostTimeline) -> Timeline:
    return Timeline(
        timeline.step_minutes,
        tuple(timeline.lines),
        tuple(
            Bucket(
                start_minute=bucket.start.seconds // 60,
                cost_micros=bucket.cost_micros,
                paid_micros=bucket.paid_time_micros,
                worked_micros=bucket.worked_time_micros,
                line_micros=tuple(bucket.line_micros),
            )
            for bucket in timeline.buckets
        ),
    )
