"""A plan that is quickly made and surely allowed, for the solver to begin with. Pure.

Each group alone goes where its replicas cost least by the GPU; where a loss must be survived, the cheaper of machines
that nothing takes back, and of two regions, one of which holds the reserve.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inferno_governator.plan.fitting import Flow, Kind, holds
from inferno_governator.plan.question import Machine
from inferno_governator.plan.reduction import Cell


class _Seat(NamedTuple):
    """Where all of a group may go: what a GPU costs there an hour, the load of the whole in replicas, and on what."""

    micros: float
    load: float
    cell: int
    kind: Kind
    machine: int

    def cost(self, share: float) -> float:
        return math.ceil(self.load * share - 1e-9) * self.kind.gpus * self.micros


@dataclass(frozen=True, slots=True)
class FirstTry:
    """Machines, replicas and shares, as :class:`inferno_governator.plan.programme.Solved` has them."""

    counts: Mapping[int, int]
    replicas: Mapping[tuple[int, Kind], int]
    served: Mapping[tuple[int, Kind, int], float]


def first_try(
    machines: Sequence[Machine], flows: Sequence[Flow], cells: Sequence[Cell], share: float
) -> FirstTry | None:
    """A plan without regard to budgets and numbers of machines; None where a group would have to be split.

    Args:
        machines: All machines.
        flows: What is to be served.
        cells: Classes of machines.
        share: What must survive the loss of a region.
    """
    seats, members = _seats(machines, flows, cells)
    replicas: dict[tuple[int, Kind], int] = defaultdict(int)
    served: dict[tuple[int, Kind, int], float] = {}
    used: dict[int, int] = defaultdict(int)
    if {number for numbers in members.values() for number in numbers} != set(range(len(flows))):
        return None
    for group, numbers in members.items():
        taken = _choose(seats[group], cells, share)
        if taken is None:
            return None
        for seat, part in taken:
            count = math.ceil(seat.load * part - 1e-9)
            replicas[seat.cell, seat.kind] += count
            used[seat.machine] += count * seat.kind.gpus
            served |= {(seat.cell, seat.kind, number): part for number in numbers}
    counts = {number: -(-gpus // machines[number].gpu_count) for number, gpus in used.items()}
    return FirstTry(counts, dict(replicas), served)


def _seats(
    machines: Sequence[Machine], flows: Sequence[Flow], cells: Sequence[Cell]
) -> tuple[dict[str, list[_Seat]], dict[str, set[int]]]:
    """Where each group may go whole, and its flows."""
    members: dict[str, set[int]] = defaultdict(set)
    for cell in cells:
        for kind, number in cell.rates:
            members[kind.group].add(number)
    seats: dict[str, list[_Seat]] = defaultdict(list)
    for at, cell in enumerate(cells):
        loads: dict[Kind, dict[int, float]] = defaultdict(dict)
        for (kind, number), rate in cell.rates.items():
            loads[kind][number] = flows[number].rate / rate
        for kind, load in loads.items():
            able = [each for each in cell.members if holds(machines[each], kind.gpus)]
            if able and load.keys() == members[kind.group]:
                best = min(able, key=lambda each: machines[each].micros / machines[each].gpu_count)
                price = machines[best].micros / machines[best].gpu_count
                seats[kind.group].append(_Seat(price, sum(load.values()), at, kind, best))
    return seats, members


def _choose(seats: Sequence[_Seat], cells: Sequence[Cell], share: float) -> list[tuple[_Seat, float]] | None:
    ways: list[list[tuple[_Seat, float]]] = []
    for seat in seats:
        zone = cells[seat.cell].zone
        if not zone:
            ways.append([(seat, 1.0)])
            continue
        others = [each for each in seats if cells[each.cell].zone != zone]
        if others:
            reserve = min(others, key=lambda each: each.cost(share))
            ways.append([(seat, 1.0), (reserve, share)])
    return min(ways, key=lambda way: sum(seat.cost(part) for seat, part in way)) if ways else None
