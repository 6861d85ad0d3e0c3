"""Plans between the wire and values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from inferno.governance.v1 import plan_pb2 as wire
from inferno_governator.plan.comparison import Row
from inferno_governator.plan.curves import Curve, Grid, Objective, Point, Size, Step, Steps, checked
from inferno_governator.plan.mix import GAP, Plan
from inferno_governator.plan.offers import Choice
from inferno_governator.plan.question import Bucket, Demand, Limits, Machine
from inferno_governator.prices import gpus
from inferno_governator.prices.offers import cloud_of
from inferno_runtime.errors import InvalidInput

_SECONDS, _MOST_SECONDS = 5.0, 30.0
_MOST = {"models": 100, "curves": 1_000, "offers": 2_000}
_MOST_SIZES, _MOST_POINTS, _LONGEST = 500, 2_500, 256


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it came: what is not given is filled in from the mesh and the price list."""

    demands: tuple[Demand, ...]
    curves: tuple[Curve, ...]
    machines: tuple[Machine, ...]
    choice: Choice
    limits: Limits
    gap: float
    seconds: float


def decode(message: wire.PlanQuestion) -> Asked:
    """A question.

    Raises:
        InvalidInput: A field is not valid; the sentence names it.
    """
    for name, most in _MOST.items():
        if len(getattr(message, name)) > most:
            raise _bad(name, f"there are more than {most}")
    seconds = message.seconds or _SECONDS
    if not 0 < seconds <= _MOST_SECONDS:
        raise _bad("seconds", f"{seconds:g} is not between 0 and {_MOST_SECONDS:g}")
    if not -math.inf < message.gap < 1:
        raise _bad("gap", "it is not below 1")
    chosen = message.choice
    return Asked(
        tuple(_demand(at, each) for at, each in enumerate(message.models)),
        tuple(_curve(at, each) for at, each in enumerate(message.curves)),
        tuple(_machine(at, each) for at, each in enumerate(message.offers)),
        Choice(
            frozenset(map(cloud_of, chosen.clouds)),
            frozenset(each.lower() for each in chosen.regions),
            frozenset(each.lower() for each in chosen.gpus),
            frozenset(each.lower() for each in chosen.instance_types),
            chosen.spot,
            chosen.most or None,
            message.any_age,
        ),
        Limits(
            message.budget_micros_per_hour or None,
            tuple((f"{cloud_of(each.cloud)} {each.region.lower()}", each.nodes) for each in message.region_limits),
            message.surviving_share,
        ),
        GAP if message.gap == 0 else max(0.0, message.gap),
        seconds,
    )


def _demand(at: int, message: wire.PlanModel) -> Demand:
    field = f"models[{at}]"
    _named(f"{field}.model", message.model)
    if len(message.sizes) > _MOST_SIZES:
        raise _bad(f"{field}.sizes", f"there are more than {_MOST_SIZES}")
    sizes = [(Size(each.input_tokens, each.output_tokens), each.share or 1.0) for each in message.sizes]
    if any(not 0 < value < math.inf for size, _ in sizes for value in size):
        raise _bad(f"{field}.sizes", "tokens are not positive")
    return Demand(
        message.model,
        message.requests_per_second,
        tuple(Bucket(*each) for each in _shares(f"{field}.sizes", sizes)) or (Bucket(Size(0, 0), 1.0),),
        Objective(message.first_token_ms / 1000, message.token_ms / 1000),
        message.by_size,
        message.memory_gb,
        message.group,
        tuple(_shares(f"{field}.callers", [(each.region.lower(), each.share or 1.0) for each in message.callers])),
    )


def _shares(field: str, weighed: Sequence[tuple[Any, float]]) -> list[tuple[Any, float]]:
    whole = sum(weight for _, weight in weighed)
    if any(not 0 < weight < math.inf for _, weight in weighed) or not whole < math.inf:
        raise _bad(field, "a share is not positive and finite")
    return [(what, weight / whole) for what, weight in weighed]


def _curve(at: int, message: wire.PlanCurve) -> Curve:
    field = f"curves[{at}]"
    _named(f"{field}.gpu", message.gpu)
    if len(message.points) > _MOST_POINTS:
        raise _bad(f"{field}.points", f"there are more than {_MOST_POINTS}")
    shape: Grid | Steps
    try:
        if message.points:
            shape = Grid({_size(field, each): _point(each) for each in message.points})
        else:
            rate, latency = message.requests_per_second, message.latency_ms / 1000
            checked(Point(rate, latency or 1.0, 1.0))
            shape = Steps((Step(rate, latency),))
    except ValueError as error:
        raise _bad(field, "a rate or latency is not positive and finite, or there is no rate") from error
    return Curve(message.model, _gpu(message.gpu), shape, message.gpus or 1, message.gpu_memory_gb)


def _size(field: str, message: wire.PlanPoint) -> Size:
    size = Size(message.input_tokens, message.output_tokens)
    if any(not 0 < value < math.inf for value in size):
        raise _bad(f"{field}.points", "tokens are not positive")
    return size


def _point(message: wire.PlanPoint) -> Point | None:
    if not message.requests_per_second:
        return None
    # Where nobody says a latency, it is within any objective.
    first, token = message.first_token_ms / 1000 or 1e-9, message.token_ms / 1000 or 1e-9
    return checked(Point(message.requests_per_second, first, token))


def _machine(at: int, message: wire.PlanOffer) -> Machine:
    field = f"offers[{at}]"
    for name in ("cloud", "region", "instance_type"):
        _named(f"{field}.{name}", getattr(message, name))
    return Machine(
        message.instance_type,
        cloud_of(message.cloud),
        message.region.lower(),
        message.micros_per_hour,
        _gpu(message.gpu or message.instance_type),
        message.gpu_count or 1,
        message.gpu_memory_gb,
        message.spot,
        message.most if message.HasField("most") else None,
    )


def _gpu(name: str) -> str:
    """The price list's name of a GPU; of what it does not know, the name as it is."""
    known = gpus.known(name)
    return known.name if known else name


def _named(field: str, text: str) -> None:
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise _bad(field, "it is empty, too long or holds control characters")


def _bad(field: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"The question is not valid: {field}: {why}.",
        reason="BAD_QUESTION",
        fix="Mend it; docs/plan.md shows a whole one.",
        metadata={"field": field},
    )


def encode(found: Plan, days: Mapping[Machine, date], notes: Sequence[str], seconds: float) -> wire.FleetPlan:
    """A fleet; ``days`` are those of its prices, where they are of the price list."""
    known = [days[each.machine] for each in found.rented if each.machine in days]
    return wire.FleetPlan(
        nodes=[
            wire.PlannedNodes(
                offer=offer(each.machine),
                count=each.count,
                micros_per_hour=each.micros,
                shares=[
                    wire.PlannedShare(
                        model=share.model,
                        share=share.share,
                        replicas=share.replicas,
                        gpus_per_replica=share.kind.gpus,
                    )
                    for share in each.shares
                ],
            )
            for each in found.rented
        ],
        micros_per_hour=found.micros,
        bound_micros_per_hour=found.bound,
        gap=found.gap,
        within_gap=found.optimal,
        binding=found.binding,
        offers_considered=found.considered,
        offers_left=found.left,
        seconds=seconds,
        oldest_price=min(known).isoformat() if known else "",
        notes=notes,
    )


def offer(machine: Machine) -> wire.PlanOffer:
    """A machine."""
    return wire.PlanOffer(
        cloud=machine.cloud,
        region=machine.region,
        instance_type=machine.name,
        gpu=machine.gpu,
        gpu_count=machine.gpu_count,
        gpu_memory_gb=machine.gpu_memory_gb,
        spot=machine.spot,
        micros_per_hour=machine.micros,
        most=machine.most,
    )


def encode_row(row: Row, days: Mapping[Machine, date], notes: Sequence[str]) -> wire.PlanRow:
    """A line of a comparison."""
    return wire.PlanRow(
        choice=row.choice,
        spot=row.spot,
        plan=encode(row.plan, days, notes, 0.0) if row.plan else None,
        refusal=row.refusal,
        network_ms=None if row.network is None else row.network * 1000,
    )
