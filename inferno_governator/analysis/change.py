"""Why a bill changed between two periods: price + demand + utilisation + mix, exact to the micro-dollar.

A bill is the product of its causes:

    cost = demand x models' mix x effort x (paid time / worked time) x nodes' mix x price

Demand is the number of requests; the models' mix, each model's share of them; effort, the node time that a request of
a model takes; paid over worked time, the inverse of utilisation; the nodes' mix, each node's share of the paid time;
price, what an hour of it costs. Each cause gets its Shapley value: the mean, over all orders in which the causes could
have changed one after the other, of what its change adds. It is the one split that adds up exactly, gives a cause that
did not change nothing, treats causes alike and gives the negative when the periods are swapped (Shapley 1953; for such
products: Sun 1998, "Changes in energy consumption and energy intensity: a complete decomposition model", Energy
Economics 20; Albrecht, Francois, Schoors 2002, "A Shapley decomposition of carbon emissions without residuals", Energy
Policy 30). Logarithmic means (LMDI) have neither zeros nor whole numbers.

What comes and goes: a node in only one of the periods is taken together with such nodes of the same nature, so that a
replacement at another price is a price; a nature, or a model, in only one period has the price, or the effort, of that
period in both, so that all of its coming or going is mix.

What is paid for commitments that nobody uses is time without work as well, and its change is utilisation's, whole.

Where one of the periods has no request, nothing can be said for a request: then the worked time is demand's, and all
other time is utilisation's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.usage import Facts

# Provider, region, device, GPUs, instance type, spot.
_Nature = tuple[str, str, str, int, str, bool]
_Cell = tuple[str, _Nature]
# Which period each cause is taken from, 0 or 1.
_Choice = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The parts of a change of cost, in micro-dollars; they add up to ``after_micros - before_micros`` exactly.

    ``utilization_micros`` and ``mix_micros`` have parts of their own.
    """

    before_micros: int
    after_micros: int
    price_micros: int
    demand_micros: int
    # Of utilisation: time paid for without work; node time that a request of the same model takes.
    idle_micros: int
    effort_micros: int
    # Of mix: which models were asked for; which nodes were paid for.
    models_micros: int
    nodes_micros: int
    # What the causes did, as ratios after/before; None where before was zero or nothing can be said.
    price_ratio: Fraction | None
    demand_ratio: Fraction | None
    # Share of the paid time in which models computed, before and after; None where nothing was paid for.
    utilization_before: Fraction | None
    utilization_after: Fraction | None

    @property
    def utilization_micros(self) -> int:
        """Time paid for without work, and how much time the same work took."""
        return self.idle_micros + self.effort_micros

    @property
    def mix_micros(self) -> int:
        """Other models were asked for, or other nodes were paid for."""
        return self.models_micros + self.nodes_micros

    @property
    def difference_micros(self) -> int:
        """The whole change."""
        return self.after_micros - self.before_micros


@dataclass(slots=True)
class Account:
    """What must be known of a period: time and cost of each node, requests and time of each model."""

    cost: int = 0
    paid: int = 0
    # What was paid for commitments that nobody used: time without work that no node had.
    unused: int = 0
    nodes: dict[_Cell, list[int]] = field(default_factory=dict)
    models: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, items: Iterable[Item]) -> None:
        """Count items; in any number of pieces."""
        for item in items:
            if item.purpose is Purpose.UNUSED:
                self.unused += item.cost_micros
                continue
            # What cost something took some time: a price needs it.
            paid = max(item.paid_micros, 1) if item.cost_micros else item.paid_micros
            if not paid:
                continue
            self.cost += item.cost_micros
            self.paid += paid
            node = self.nodes.setdefault((item.node, _nature(item.facts)), [0, 0])
            node[0] += paid
            node[1] += item.cost_micros
            if item.purpose is Purpose.WORK:
                model = self.models.setdefault((item.model, item.version), [0, 0])
                model[0] += item.requests + item.errors
                model[1] += paid


def account(items: Iterable[Item]) -> Account:
    """The account of some items."""
    made = Account()
    made.add(items)
    return made


def change(before: Account, after: Account) -> Change:
    """Split the change of cost from one period to another; see the module for how."""
    nodes, prices = _nodes(before, after)
    models = _models(before, after)
    demand = [sum(count for count, _ in side.values()) for side in models]
    work = [sum(time for _, time in side.values()) for side in models]
    if all(demand) and all(work):
        parts = _by_requests(demand, work, models, (before.paid, after.paid), nodes)
    else:
        parts = _by_time(work, (before.paid, after.paid), nodes)
    price, asked, idle, effort, of_models, of_nodes = _whole(parts, after.cost - before.cost)
    return Change(
        before_micros=before.cost + before.unused,
        after_micros=after.cost + after.unused,
        price_micros=price,
        demand_micros=asked,
        idle_micros=idle + after.unused - before.unused,
        effort_micros=effort,
        models_micros=of_models,
        nodes_micros=of_nodes,
        price_ratio=Fraction(prices[1], prices[0]) if prices[0] else None,
        demand_ratio=Fraction(demand[1], demand[0]) if demand[0] else None,
        utilization_before=_share(work[0], before.paid),
        utilization_after=_share(work[1], after.paid),
    )


class _Nodes:
    """Cost of a paid hour, by whose mix of nodes and by whose prices."""

    def __init__(self, cells: Sequence[Mapping[_Cell, Sequence[int]]], paid: Sequence[int]) -> None:
        # Where nothing was paid for there is no mix; the other period's stands in for it.
        self._paid = [paid[at] or paid[1 - at] for at in (0, 1)]
        filled = [cells[at] if paid[at] else cells[1 - at] for at in (0, 1)]
        self._cost = [[_crossed(filled[mix], filled[price]) for price in (0, 1)] for mix in (0, 1)]

    def rate(self, mix: int, price: int) -> Fraction:
        return Fraction(self._cost[mix][price], self._paid[mix]) if self._paid[mix] else Fraction(0)


def _crossed(amounts: Mapping[_Cell, Sequence[int]], rates: Mapping[_Cell, Sequence[int]]) -> int:
    """Cost of one period's times at the other's prices; at its own where the other has none."""
    total = 0
    for cell, (time, cost) in amounts.items():
        other_time, other_cost = rates.get(cell, (time, cost))
        total += time * other_cost // other_time
    return total


def _nodes(before: Account, after: Account) -> tuple[_Nodes, tuple[int, int]]:
    """The nodes of both periods, and what those in both cost by the one's and by the other's prices."""
    cells: list[dict[_Cell, list[int]]] = []
    for side, other in ((before, after), (after, before)):
        pooled: dict[_Cell, list[int]] = {}
        for (name, nature), (time, cost) in side.nodes.items():
            stays = (name, nature) in other.nodes
            cell = pooled.setdefault((name if stays else "", nature), [0, 0])
            cell[0] += time
            cell[1] += cost
        cells.append(pooled)
    shared = {cell: amounts for cell, amounts in cells[0].items() if cell in cells[1]}
    prices = sum(cost for _, cost in shared.values()), _crossed(shared, cells[1])
    return _Nodes(cells, (before.paid, after.paid)), prices


_Models = dict[tuple[str, str], tuple[int, int]]


def _models(before: Account, after: Account) -> list[_Models]:
    """Requests and time of the models with requests: work for none is no work for anybody."""
    return [{name: (count, time) for name, (count, time) in side.models.items() if count} for side in (before, after)]


def _worked(counts: _Models, efforts: _Models) -> int:
    """Time of one period's requests at the other's effort; at their own where the other has none."""
    total = 0
    for name, (count, time) in counts.items():
        other_count, other_time = efforts.get(name, (count, time))
        total += count * other_time // other_count
    return total


def _by_requests(
    demand: Sequence[int], work: Sequence[int], models: Sequence[_Models], paid: Sequence[int], nodes: _Nodes
) -> list[Fraction]:
    worked = [[_worked(models[mix], models[effort]) for effort in (0, 1)] for mix in (0, 1)]

    def cost(choice: _Choice) -> Fraction:
        price, asked, idle, effort, of_models, of_nodes = choice
        time = Fraction(demand[asked] * worked[of_models][effort], demand[of_models]) * Fraction(paid[idle], work[idle])
        return time * nodes.rate(of_nodes, price)

    return _shapley(cost, 6)


def _by_time(work: Sequence[int], paid: Sequence[int], nodes: _Nodes) -> list[Fraction]:
    def cost(choice: _Choice) -> Fraction:
        price, asked, idle, of_nodes = choice
        return (work[asked] + paid[idle] - work[idle]) * nodes.rate(of_nodes, price)

    price, asked, idle, of_nodes = _shapley(cost, 4)
    return [price, asked, idle, Fraction(0), Fraction(0), of_nodes]


def _shapley(cost: Callable[[_Choice], Fraction], causes: int) -> list[Fraction]:
    """Each cause's share of ``cost`` of all ones less ``cost`` of all zeros."""
    costs = {choice: cost(choice) for choice in itertools.product((0, 1), repeat=causes)}
    weights = [
        Fraction(math.factorial(changed) * math.factorial(causes - changed - 1), math.factorial(causes))
        for changed in range(causes)
    ]
    shares = []
    for cause in range(causes):
        share = Fraction(0)
        for choice, before in costs.items():
            if not choice[cause]:
                after = costs[(*choice[:cause], 1, *choice[cause + 1 :])]
                share += weights[sum(choice)] * (after - before)
        shares.append(share)
    return shares


def _whole(parts: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers that add up to ``total``: rounded down, what is left going to the largest remainders."""
    whole = [math.floor(part) for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda at: (whole[at] - parts[at], at))
    for at in by_remainder[: total - sum(whole)]:
        whole[at] += 1
    return whole


def _share(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def _nature(facts: Facts) -> _Nature:
    return facts.provider, facts.region, facts.device, facts.gpu_count, facts.instance_type, facts.spot
