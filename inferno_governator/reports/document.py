"""A report as JSON values: money in micro-dollars, times in microseconds, unit costs in billionths of a dollar."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from inferno_governator.analysis.breakdown import Line, Sums
from inferno_governator.analysis.change import Change
from inferno_governator.analysis.cost_report import CostReport, Timeline
from inferno_governator.analysis.periods import Period
from inferno_governator.analysis.unit_cost import nanos_per
from inferno_governator.reports.words import explanation


def document(report: CostReport) -> dict[str, Any]:
    """The whole report."""
    return {
        "period": _period(report.period),
        "group_by": [dimension.value for dimension in report.by],
        "filters": {dimension.value: sorted(values) for dimension, values in report.where.items()},
        "total": _sums(report.total),
        "bill_micros": report.bill_micros,
        "tokens": "shared" if report.shares_tokens else "counted",
        "lines": [
            {
                **_place(report, each.line),
                **_sums(each.line.sums),
                **({} if each.before_micros is None else {"before_micros": each.before_micros}),
            }
            for each in report.lines
        ],
        "compared_with": _period(report.compared_with) if report.compared_with else None,
        "change": _change(report.change) if report.change else None,
        "timeline": _timeline(report.timeline) if report.timeline else None,
    }


def _place(report: CostReport, line: Line) -> dict[str, Any]:
    values = line.values or ("",) * len(report.by)
    return {
        **{dimension.value: value or None for dimension, value in zip(report.by, values, strict=True)},
        **({"purpose": line.purpose.value} if line.purpose else {}),
        **({"others": line.others} if line.others else {}),
    }


def _sums(sums: Sums) -> dict[str, Any]:
    return {
        **asdict(sums),
        "nanos_per_request": nanos_per(sums.cost_micros, sums.requests),
        "nanos_per_1k_tokens": nanos_per(sums.cost_micros, sums.tokens, 1_000),
        "nanos_per_1k_inferences": nanos_per(sums.cost_micros, sums.inferences, 1_000),
    }


def _change(change: Change) -> dict[str, Any]:
    told = explanation(change)
    return {
        "before_micros": change.before_micros,
        "after_micros": change.after_micros,
        "difference_micros": change.difference_micros,
        "price_micros": change.price_micros,
        "demand_micros": change.demand_micros,
        "utilization_micros": change.utilization_micros,
        "utilization_parts": {"idle_micros": change.idle_micros, "effort_micros": change.effort_micros},
        "mix_micros": change.mix_micros,
        "mix_parts": {"models_micros": change.models_micros, "nodes_micros": change.nodes_micros},
        "in_words": [told.headline(), *told.lines()],
    }


def _timeline(timeline: Timeline) -> dict[str, Any]:
    return {
        "step_minutes": timeline.step_minutes,
        "lines": list(timeline.lines),
        "buckets": [
            {
                "start": _iso(bucket.start_minute),
                "cost_micros": bucket.cost_micros,
                "paid_micros": bucket.paid_micros,
                "worked_micros": bucket.worked_micros,
                "line_micros": list(bucket.line_micros),
            }
            for bucket in timeline.buckets
        ],
    }


def _period(over: Period) -> dict[str, str]:
    return {"start": _iso(over.start_minute), "end": _iso(over.end_minute)}


def _iso(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
