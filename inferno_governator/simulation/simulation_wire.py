"""Questions to simulations and their answers on the wire. What is impossible is refused with the field's name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import simulation_pb2 as wire
from inferno_governator.analysis.periods import Period, period
from inferno_governator.capacity import Capacity
from inferno_governator.prices import price_wire
from inferno_governator.prices.book import PriceBook
from inferno_governator.simulation.alternatives import FIXED, Alternative
from inferno_governator.simulation.curves import Curve, GridCurve, MeasuredCurve
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outages import Weather
from inferno_governator.simulation.outcome import Moment, Objective, Outcome
from inferno_governator.simulation.trace import RateTrace
from inferno_runtime.errors import InvalidInput, NotFound

_DAY = 86_400
_MOST_MINUTES = 31 * 1440
_MOST_STEPS = 50_000
_MOST_ALTERNATIVES = _MOST_POOLS = 16
_MOST_NODES = 1_000
_MOST_POINTS = 500
_MOST_CONCURRENCY = 10_000
_MOST_SECONDS = 10.0**8


@dataclass(frozen=True, slots=True)
class Known:
    """What a question may name: nodes with their curves and prices (micro-dollars an hour), and offers in a minute."""

    curves: Mapping[str, MeasuredCurve] = field(default_factory=dict)
    prices: Mapping[str, int] = field(default_factory=dict)
    book: PriceBook = field(default_factory=PriceBook)
    minute: int = 0


def recorded_period(asked: wire.RecordedDemand, now: float) -> Period:
    """The minutes whose demand is asked for.

    Raises:
        InvalidInput: They are none, or more than 31 days.
    """
    end = asked.end.seconds + bool(asked.end.nanos) if asked.HasField("end") else int(now)
    start = asked.start.seconds if asked.HasField("start") else end - (asked.seconds or _DAY)
    over = period(start, end, now)
    if over.minutes > _MOST_MINUTES:
        raise _bad("recorded", f"is {over.minutes / 1440:.0f} days long", "Ask for at most 31 days")
    return over


def rates(asked: wire.RateSeries) -> RateTrace:
    """Rates that the caller gives.

    Raises:
        InvalidInput: They cannot be.
    """
    given = np.array(asked.requests_per_second, dtype=float)
    if not 2 <= len(given) <= _MOST_STEPS:
        raise _bad("rates", f"has {len(given)} steps", f"Give 2 to {_MOST_STEPS:,}")
    wrong = np.flatnonzero(~((given >= 0) & (given <= _MOST_SECONDS)))
    if len(wrong):
        raise _bad(f"rates.requests_per_second[{wrong[0]}]", f"is {given[wrong[0]]:g}", "Give a rate from 0 on")
    step = _number(asked.step_seconds, "rates.step_seconds", least=1)
    if step * len(given) > _MOST_MINUTES * 60 * 12:
        raise _bad("rates", "is longer than a year", "Give less of it")
    return RateTrace(
        "given rates",
        given,
        step,
        _number(asked.mean_input_tokens, "rates.mean_input_tokens"),
        _number(asked.mean_output_tokens, "rates.mean_output_tokens"),
    )


def measured(reports: Sequence[Capacity]) -> MeasuredCurve | None:
    """A node's curve from what benchmarks on it showed: the newest complete report, its smallest batch."""
    complete = [each for each in reports if each.complete] or list(reports)
    if not complete:
        return None
    newest = max(complete, key=lambda each: each.measured_micros)
    well = [step for step in newest.steps if step.requests_per_second > 0]
    least = min((step.batch for step in well), default=0)
    steps = {step.concurrency: step.requests_per_second for step in well if step.batch == least}
    return MeasuredCurve.of(steps) if steps else None


def named_nodes(request: wire.SimulateRequest) -> set[str]:
    """Nodes that pools are to be like."""
    return {pool.like_node for each in request.alternatives for pool in each.pools if pool.like_node}


def alternatives(request: wire.SimulateRequest, known: Known) -> list[Alternative]:
    """What is to be compared.

    Raises:
        InvalidInput: Something cannot be; its field is named.
        NotFound: A node or an offer is not known.
    """
    if not 1 <= len(request.alternatives) <= _MOST_ALTERNATIVES:
        raise _bad(
            "alternatives", f"has {len(request.alternatives)}", f"Give 1 to {_MOST_ALTERNATIVES}, each with its name"
        )
    objective = Objective(
        _number(request.objective.latency_seconds, "objective.latency_seconds"),
        _number(request.objective.first_token_seconds, "objective.first_token_seconds"),
        _number(request.objective.share, "objective.share", most=1) or 0.99,
    )
    patience = _number(request.patience_seconds, "patience_seconds") or 60.0
    decide = _number(request.decide_seconds or 60.0, "decide_seconds", least=10)
    made = []
    for at, each in enumerate(request.alternatives):
        where = f"alternatives[{at}]"
        if not each.name or not 1 <= len(each.pools) <= _MOST_POOLS:
            raise _bad(where, "lacks a name, or has no pools or too many", f"Give a name and 1 to {_MOST_POOLS} pools")
        pools = tuple(_pool(pool, f"{where}.pools[{place}]", known) for place, pool in enumerate(each.pools))
        target = _number(each.target, f"{where}.target")
        made.append(
            Alternative(
                each.name, pools, each.policy or FIXED, target, _weather(each, where), objective, patience, decide
            )
        )
    return made


def _weather(each: wire.SimulatedAlternative, where: str) -> Weather | None:
    if not each.HasField("spot_losses"):
        return None
    spot = each.spot_losses
    return Weather(
        _number(spot.per_day, f"{where}.spot_losses.per_day", most=1440),
        _number(spot.mean_seconds, f"{where}.spot_losses.mean_seconds"),
        _number(spot.together, f"{where}.spot_losses.together", most=1),
        _number(spot.spread, f"{where}.spot_losses.spread", most=1),
    )


def _pool(pool: wire.SimulatedPool, where: str, known: Known) -> Pool:
    maximum = pool.maximum or pool.nodes
    if maximum > _MOST_NODES:
        raise _bad(f"{where}.maximum", f"is {maximum}", f"Give at most {_MOST_NODES:,}")
    return Pool(
        pool.name or "nodes",
        _curve(pool, where, known),
        _price(pool, where, known),
        _number(pool.boot_seconds, f"{where}.boot_seconds"),
        pool.nodes,
        pool.minimum,
        maximum,
        pool.spot,
        pool.zone,
        _number(pool.network_seconds, f"{where}.network_seconds"),
    )


def _curve(pool: wire.SimulatedPool, where: str, known: Known) -> Curve:
    ways = [bool(pool.like_node and not pool.throughput and not pool.cells), bool(pool.throughput), bool(pool.cells)]
    if sum(ways) != 1 or max(len(pool.throughput), len(pool.cells)) > _MOST_POINTS:
        raise _bad(where, "tells in none or several ways what a node can do", "Give like_node, or throughput, or cells")
    if pool.throughput:
        steps = {each.concurrency: each.requests_per_second for each in pool.throughput}
        if max(steps) > _MOST_CONCURRENCY or not all(math.isfinite(each) for each in steps.values()):
            raise _bad(f"{where}.throughput", "has a step that cannot be", "Give at most 10,000 in flight")
        return MeasuredCurve.of(steps)
    if pool.cells:
        return GridCurve(
            {
                (each.input_tokens, each.output_tokens): (
                    _number(each.batch, f"{where}.cells.batch", least=1),
                    _number(each.first_token_seconds, f"{where}.cells.first_token_seconds", least=1e-6),
                    _number(each.step_seconds, f"{where}.cells.step_seconds", least=1e-6),
                )
                for each in pool.cells
                if _size(each, where)
            },
            pool.gpus or 1,
        )
    curve = known.curves.get(pool.like_node)
    if curve is None:
        raise NotFound(
            f"{where}.like_node: nobody has measured the model on the node {pool.like_node!r}.",
            reason="NO_CAPACITY",
            fix="Run inferno backend bench there, or give throughput.",
        )
    return curve


def _size(cell: wire.GridCell, where: str) -> bool:
    if not cell.input_tokens or not cell.output_tokens:
        raise _bad(f"{where}.cells", "has a cell without tokens", "Give both sizes from 1 on")
    return True


def _price(pool: wire.SimulatedPool, where: str, known: Known) -> int:
    if pool.price_micros_per_hour < 0:
        raise _bad(f"{where}.price_micros_per_hour", "is below zero", "Give what a node costs an hour")
    if pool.price_micros_per_hour:
        return pool.price_micros_per_hour
    if pool.HasField("offer"):
        key = price_wire.key(pool.offer)
        found = known.book.find(key, known.minute)
        if found is None:
            raise NotFound(
                f"{where}.offer: no price of {key} is known.",
                reason="NO_PRICE",
                fix="See inferno price ls, or give one.",
            )
        return found.quote.micros
    price = known.prices.get(pool.like_node)
    if price is None:
        raise _bad(where, "has no price", "Give price_micros_per_hour, an offer, or a node whose price is known")
    return price


def _number(value: float, where: str, *, least: float = 0, most: float = _MOST_SECONDS) -> float:
    if not least <= value <= most:
        raise _bad(where, f"is {value:g}", f"Give a number from {least:g} to {most:g}")
    return value


def _bad(where: str, what: str, fix: str) -> InvalidInput:
    return InvalidInput(f"{where} {what}.", reason="BAD_SIMULATION", fix=f"{fix}.")


def encode(trace: RateTrace, outcomes: Sequence[Outcome]) -> wire.SimulateResponse:
    """The answer."""
    return wire.SimulateResponse(
        demand=trace.name,
        begin=Timestamp(seconds=int(trace.begin)) if trace.begin else None,
        seconds=trace.seconds,
        mean_input_tokens=trace.mean_input,
        mean_output_tokens=trace.mean_output,
        outcomes=[_outcome(each) for each in outcomes],
    )


def _outcome(each: Outcome) -> wire.SimulatedOutcome:
    return wire.SimulatedOutcome(
        name=each.name,
        requests=each.requests,
        served=each.served,
        late=each.late,
        within=each.within,
        kept=each.kept,
        retried=each.retried,
        latency_seconds=each.latency,
        first_token_seconds=each.first_token,
        cost_micros=each.cost_micros,
        node_seconds=each.node_seconds,
        idle=each.idle,
        starts=each.starts,
        stops=each.stops,
        losses=each.losses,
        refused_actions=each.refused_actions,
        most_nodes=each.most_nodes,
        moments=[
            wire.SimulatedMoment(
                at_seconds=moment.at,
                requests_per_second=moment.rate,
                serving=moment.serving,
                starting=moment.starting,
                within=moment.within,
            )
            for moment in each.moments
        ],
    )


def decode(answer: wire.SimulateResponse) -> list[Outcome]:
    """The outcomes of an answer."""
    return [
        Outcome(
            each.name,
            each.requests,
            each.served,
            each.requests - each.served,
            each.late,
            each.within,
            each.kept,
            each.retried,
            _three(each.latency_seconds),
            _three(each.first_token_seconds),
            each.cost_micros,
            each.node_seconds,
            each.idle,
            each.starts,
            each.stops,
            each.losses,
            each.refused_actions,
            each.most_nodes,
            answer.seconds,
            exact=False,
            moments=tuple(
                Moment(one.at_seconds, one.requests_per_second, one.serving, one.starting, one.within)
                for one in each.moments
            ),
        )
        for each in answer.outcomes
    ]


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = values
    return (low, middle, high)
