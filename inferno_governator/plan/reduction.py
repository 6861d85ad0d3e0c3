"""Fewer machines with the same optimum: those that can do the same are one class, and those that another replaces at no
greater price are left out. Pure, and exact: a plan with a machine that was left out has one without it that costs no
more and keeps every bound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from inferno_governator.plan.fitting import Fit, Kind, Rates, holds
from inferno_governator.plan.question import Limits, Machine


@dataclass(frozen=True, slots=True)
class Cell:
    """Machines that serve the same at the same rates and are lost together.

    Attributes:
        zone: Region whose spot machines they are; empty for those that nothing takes back, and where no loss is
            planned for.
        rates: By kind of replica and flow.
        members: Their numbers in the question.
    """

    zone: str
    rates: Rates
    members: tuple[int, ...]


def cells(machines: Sequence[Machine], fit: Fit, limits: Limits) -> list[Cell]:
    """The classes of machines, without those that are not needed."""
    grouped: dict[tuple[str, frozenset[tuple[tuple[Kind, int], float]]], list[int]] = defaultdict(list)
    for number, (machine, rates) in enumerate(zip(machines, fit.rates, strict=True)):
        if any(holds(machine, kind.gpus) for kind, _ in rates):
            zone = machine.zone if machine.spot and limits.surviving_share > 0 else ""
            grouped[zone, frozenset(rates.items())].append(number)
    kept = {number for numbers in grouped.values() for number in numbers}
    found = [Cell(zone, dict(rates), tuple(numbers)) for (zone, rates), numbers in grouped.items()]
    bounded = {region for region, _ in limits.nodes_by_region}
    for one in found:
        for other in found:
            # Of two that replace one another, one stays: the others are looked for among those that are kept.
            if other.zone in ("", one.zone) and _does(other, one):
                for number in one.members:
                    if number in kept and any(
                        rival in kept and rival != number and _replaces(machines[rival], machines[number], one, bounded)
                        for rival in other.members
                    ):
                        kept.discard(number)
    left = [Cell(one.zone, one.rates, tuple(each for each in one.members if each in kept)) for one in found]
    return [cell for cell in left if cell.members]


def _does(one: Cell, other: Cell) -> bool:
    """One serves all that the other does, at no lower rate."""
    return one is other or all(one.rates.get(what, 0.0) >= rate for what, rate in other.rates.items())


def _replaces(one: Machine, other: Machine, cell: Cell, bounded: set[str]) -> bool:
    """So many of one that have the GPUs of the other hold the same replicas, cost no more, and may be had."""
    if one.most is not None or other.gpu_count % one.gpu_count:
        return False
    count = other.gpu_count // one.gpu_count
    used = {kind.gpus for kind, _ in cell.rates if holds(other, kind.gpus)}
    if not all(holds(one, gpus) for gpus in used) or count * one.micros > other.micros:
        return False
    # In a region whose nodes are counted, only a machine of the same region takes exactly the other's place.
    return one.zone not in bounded or (count == 1 and one.zone == other.zone)
