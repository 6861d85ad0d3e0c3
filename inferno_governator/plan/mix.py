"""The cheapest fleet for a demand, with the bound that proves how near to the cheapest it is, or why there is none."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inferno_governator.money import dollars
from inferno_governator.plan.fitting import Fit, Kind, fit, flows, holds
from inferno_governator.plan.impossible import refuse, refuse_unfit
from inferno_governator.plan.programme import Prices, Programme, Solved
from inferno_governator.plan.question import Demand, Machine, Question
from inferno_governator.plan.reduction import Cell, cells
from inferno_runtime.errors import InvalidInput, TimedOut

GAP, SECONDS = 0.01, 10.0
# Flows times machines: beyond it a question takes minutes to write down.
_LARGEST = 1_000_000


class Share(NamedTuple):
    """What replicas of one kind do for one model: how many there are, and the share of its demand that they serve."""

    model: str
    kind: Kind
    replicas: int
    share: float


@dataclass(frozen=True, slots=True)
class Rented:
    """Machines of one offer in a plan.

    Attributes:
        micros: What all of them cost an hour.
        shares: What they serve; with reserves for a loss, the shares of a model in a plan add up to more than 1.
    """

    machine: Machine
    count: int
    micros: int
    shares: tuple[Share, ...]

    @property
    def serves(self) -> Mapping[str, float]:
        """Share of the demand by model."""
        found: dict[str, float] = defaultdict(float)
        for each in self.shares:
            found[each.model] += each.share
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet.

    Attributes:
        micros: What it costs an hour.
        bound: No fleet that keeps the same bounds costs less, as the solver has proven.
        optimal: The gap that was asked for is met; False where time ran out before.
        binding: What would have to give for a cheaper plan, as sentences.
        considered: Offers that can serve something; ``left`` those of them that no other replaces.
    """

    rented: tuple[Rented, ...]
    micros: int
    bound: int
    optimal: bool
    binding: tuple[str, ...]
    considered: int
    left: int

    @property
    def gap(self) -> float:
        """How much of the cost lies above the bound: 0.01 is 1 %."""
        return (self.micros - self.bound) / self.micros if self.micros else 0.0

    @property
    def nodes(self) -> int:
        """Machines of all offers."""
        return sum(each.count for each in self.rented)


def plan(question: Question, gap: float = GAP, seconds: float = SECONDS, *, explain: bool = True) -> Plan:
    """The cheapest fleet.

    Args:
        question: Demand, machines, curves and limits.
        gap: How far above the proven bound it may be, as a share of its cost; 0: not at all.
        seconds: Time for the solver; what it has found by then is given, with the gap that it has.
        explain: Say also which limits bind.

    Raises:
        InvalidInput: The question is not valid, or no fleet answers it: the sentence says what makes it so.
        TimedOut: Nothing was found in time.
    """
    check(question)
    can = fit(question)
    refuse_unfit(question, can)
    kept = cells(question.machines, can, question.limits)
    programme = Programme(question.machines, can.flows, kept, question.limits)
    try:
        solved = programme.solve(gap, seconds)
    except TimeoutError:
        raise TimedOut(
            f"No plan was found within {seconds:g} s.", reason="PLAN_TIMEOUT", fix="Allow more time, or fewer offers."
        ) from None
    if solved is None:
        raise refuse(question, can, kept, seconds)
    binding = _binding(question, programme.prices()) if explain and _bounded(question) else ()
    micros = sum(question.machines[member].micros * count for member, count in solved.counts.items())
    return Plan(
        _rented(question, can, kept, solved),
        micros,
        min(solved.bound, micros),
        solved.optimal,
        binding,
        sum(1 for rates in can.rates if rates),
        sum(len(cell.members) for cell in kept),
    )


def check(question: Question) -> None:
    """Refuse what is no question.

    Raises:
        InvalidInput: The sentence says what is wrong.
    """
    names = [each.model for each in question.demands]
    for model in names:
        if names.count(model) > 1:
            raise _bad(f"the model {model} stands there twice")
    for demand in question.demands:
        _check_demand(demand)
    for curve in question.curves:
        if curve.gpus < 1 or curve.gpus & (curve.gpus - 1):
            raise _bad(f"a curve of {curve.model or 'every model'} is for {curve.gpus} GPUs, which is no power of two")
    for machine in question.machines:
        if machine.micros <= 0 or machine.gpu_count < 1 or (machine.most is not None and machine.most < 0):
            raise _bad(f"the offer {machine} has no price, no GPU or a negative limit")
    if len(flows(question.demands)) * len(question.machines) > _LARGEST:
        raise _bad("it has too many sizes for so many offers")
    limits = question.limits
    if not 0 <= limits.surviving_share <= 1 or (limits.budget is not None and limits.budget < 0):
        raise _bad("the share that must survive is not between 0 and 1, or the budget is negative")


def _check_demand(demand: Demand) -> None:
    numbers = [demand.rate, demand.memory_gb, demand.objective.first, demand.objective.token]
    for kind, shares in (
        ("sizes", [bucket.share for bucket in demand.buckets]),
        ("callers", [share for _, share in demand.callers]),
    ):
        if shares and not (all(share >= 0 for share in shares) and math.isclose(sum(shares), 1, abs_tol=1e-6)):
            raise _bad(f"the shares of the {kind} of {demand.model} do not add up to 1")
    if not demand.buckets or not all(0 <= number < math.inf for number in numbers):
        raise _bad(f"a figure of {demand.model} is negative or not finite, or it has no size")


def _bad(why: str) -> InvalidInput:
    return InvalidInput(f"This cannot be planned: {why}.", reason="BAD_QUESTION", fix="Mend it and ask again.")


def _rented(question: Question, can: Fit, kept: Sequence[Cell], solved: Solved) -> tuple[Rented, ...]:
    demand = {each.model: each.rate for each in question.demands}
    found = []
    for number, cell in enumerate(kept):
        members = {member: solved.counts[member] for member in cell.members if member in solved.counts}
        for member, replicas in _place(question.machines, members, number, solved).items():
            serves: dict[tuple[str, Kind], float] = defaultdict(float)
            for (where, kind, flow), share in solved.served.items():
                if where == number and replicas.get(kind):
                    part = replicas[kind] / solved.replicas[number, kind]
                    model, rate = can.flows[flow].model, can.flows[flow].rate
                    serves[model, kind] += share * part * rate / demand[model]
            machine, count = question.machines[member], members[member]
            shares = tuple(Share(model, kind, replicas[kind], share) for (model, kind), share in sorted(serves.items()))
            found.append(Rented(machine, count, machine.micros * count, shares))
    return tuple(sorted(found, key=lambda each: (-each.micros, str(each.machine))))


def _place(
    machines: Sequence[Machine], members: Mapping[int, int], cell: int, solved: Solved
) -> dict[int, dict[Kind, int]]:
    """Replicas by machine, the largest first: then what is left of each machine is a multiple of every smaller one."""
    free = {member: machines[member].gpu_count * count for member, count in members.items()}
    placed: dict[int, dict[Kind, int]] = {member: {} for member in members}
    mine = [(kind, count) for (where, kind), count in solved.replicas.items() if where == cell]
    for kind, wanted in sorted(mine, key=lambda each: (-each[0].gpus, each[0].group)):
        left = wanted
        for member in members:
            if holds(machines[member], kind.gpus):
                here = min(left, free[member] // kind.gpus)
                if here:
                    placed[member][kind] = here
                    free[member] -= here * kind.gpus
                    left -= here
    return placed


def _bounded(question: Question) -> bool:
    limits = question.limits
    return bool(
        limits.nodes_by_region or limits.surviving_share or any(each.most is not None for each in question.machines)
    )


def _binding(question: Question, prices: Prices) -> tuple[str, ...]:
    """The limits that cost something, dearest first."""
    found = [
        (
            worth,
            f"One more {question.machines[member]} than may be had would save about {dollars(round(worth))} an hour.",
        )
        for member, worth in prices.machines.items()
    ]
    found += [
        (worth, f"One more node in {region} than is allowed would save about {dollars(round(worth))} an hour.")
        for region, worth in prices.regions.items()
    ]
    found += [
        (worth, f"To survive the loss of the spot machines in {zone} costs about {dollars(round(worth))} an hour.")
        for zone, worth in prices.zones.items()
    ]
    return tuple(sentence for worth, sentence in sorted(found, reverse=True))
