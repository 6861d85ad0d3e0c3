"""What the same demand costs in each cloud or region, on demand alone and with spot. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from inferno_governator.plan import distance
from inferno_governator.plan.mix import GAP, Plan, plan
from inferno_governator.plan.question import Machine, Question
from inferno_runtime.errors import InfernoError

EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Row:
    """The best fleet within one choice, or why there is none; ``network`` is the longest way there and back between
    callers and its regions, in seconds, None where that is not known."""

    choice: str
    spot: bool
    plan: Plan | None
    refusal: str
    network: float | None


Choices = list[tuple[str, bool, tuple[Machine, ...]]]


def choices(machines: tuple[Machine, ...], *, by_region: bool) -> Choices:
    """What fleets are restricted to: all machines, each cloud and, if wanted, each region; on demand alone, and with
    spot where there is any. Each with its name, whether spot is allowed, and its machines."""
    within: dict[str, list[Machine]] = {EVERYTHING: list(machines)}
    for machine in machines:
        for name in (machine.cloud, machine.zone) if by_region else (machine.cloud,):
            within.setdefault(name, []).append(machine)
    found: Choices = []
    for name, some in within.items():
        sure = [each for each in some if not each.spot]
        if sure:
            found.append((name, False, tuple(sure)))
        if len(some) > len(sure):
            found.append((name, True, tuple(some)))
    return found


def compare(question: Question, *, by_region: bool, gap: float = GAP, seconds: float = 2.0) -> list[Row]:
    """Rows, cheapest first and those without a fleet last.

    Args:
        question: Demand, all machines, curves and limits.
        by_region: Each region apart as well as each cloud.
        gap: As :func:`inferno_governator.plan.mix.plan` has it.
        seconds: For each row.
    """
    rows = [
        _row(name, replace(question, machines=machines), gap, seconds, spot=spot)
        for name, spot, machines in choices(question.machines, by_region=by_region)
    ]
    return sorted(rows, key=lambda row: (row.plan is None, row.plan.micros if row.plan else 0, row.choice, row.spot))


def _row(name: str, question: Question, gap: float, seconds: float, *, spot: bool) -> Row:
    try:
        found = plan(question, gap, seconds, explain=False)
    except InfernoError as error:
        return Row(name, spot, None, error.message, None)
    return Row(name, spot, found, "", network(question, [each.machine for each in found.rented]))


def network(question: Question, machines: list[Machine]) -> float | None:
    """The longest way there and back between callers and machines, in seconds."""
    callers = {region for demand in question.demands for region, _ in demand.callers}
    ways = [distance.seconds(caller, machine.zone) for caller in callers for machine in machines]
    known = [way for way in ways if way is not None]
    return max(known) if known and len(known) == len(ways) else None
