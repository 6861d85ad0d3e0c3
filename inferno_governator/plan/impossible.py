"""Why no fleet answers a question: the constraint that makes it so, named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from inferno_governator.money import dollars
from inferno_governator.plan.curves import Unfit
from inferno_governator.plan.fitting import Fit
from inferno_governator.plan.programme import Programme, Solved
from inferno_governator.plan.question import Limits, Question
from inferno_governator.plan.reduction import Cell, cells
from inferno_runtime.errors import InvalidInput

# What is less than so much of a flow is the solver's rounding.
_NOTHING = 1e-4
# Seconds for each try to find out why.
_TRY = 2.0
_FIXES = {
    Unfit.CURVE: "Measure the model there (inferno backend bench), or give a curve of it.",
    Unfit.MEMORY: "Give a curve for more GPUs in one replica, or allow machines with more memory.",
    Unfit.GPUS: "Allow machines with more GPUs.",
    Unfit.SIZE: "Measure larger requests, or leave them out of the demand.",
    Unfit.CAPACITY: "Allow other machines, or leave that size out of the demand.",
    Unfit.LATENCY: "Promise a longer latency, or allow faster machines.",
    Unfit.DISTANCE: "Allow regions nearer to the callers, or promise a longer latency.",
    Unfit.PLACE: "Allow regions of which it is known where they lie, or name no callers.",
}


def refuse_unfit(question: Question, can: Fit) -> None:
    """Refuse a question with requests that no machine can serve, however many there are.

    Raises:
        InvalidInput: The sentence names the requests and the reason that holds for most machines.
    """
    for number, flow in enumerate(can.flows):
        reasons = can.unfit[number]
        if sum(reasons.values()) < len(question.machines):
            continue
        if not question.machines:
            raise _no_plan(
                f"{flow} cannot be served: there is no offer to choose from", "Allow more offers.", flow.model
            )
        counts = sorted(reasons.items(), key=lambda each: -each[1])
        said = "; ".join(f"{count} of {len(question.machines)} offers: {why.value}" for why, count in counts)
        raise _no_plan(f"{flow} cannot be served by any offer ({said})", _FIXES[counts[0][0]], flow.model)


def refuse(question: Question, can: Fit, kept: Sequence[Cell], seconds: float) -> InvalidInput:
    """The refusal of a question that its limits make impossible: what goes unserved, and which limit it hangs on."""
    seconds = min(seconds, _TRY)
    least = Programme(question.machines, can.flows, kept, question.limits, elastic=True)
    missing: dict[str, float] = defaultdict(float)
    rates: dict[str, float] = defaultdict(float)
    solved = _tried(least, seconds)
    for number, flow in enumerate(can.flows):
        rates[flow.model] += flow.rate
        if solved and solved.unserved[number] > _NOTHING:
            missing[flow.model] += flow.rate * solved.unserved[number]
    models = sorted(missing, key=lambda model: -missing[model] / rates[model])
    short = ", ".join(f"{missing[model] / rates[model]:.0%} of {model}" for model in models) or "some of the demand"
    causes = list(_causes(question, can, seconds))
    why = "; ".join(causes) or "several limits together: with any one of them alone lifted it stays so"
    return _no_plan(f"{short} cannot be served: {why}", "Raise that limit, or plan for less.", *models)


def _causes(question: Question, can: Fit, seconds: float) -> Iterator[str]:
    """Limits without which there is a plan."""
    limits = question.limits
    free = tuple(replace(each, most=None) for each in question.machines)
    tries: list[tuple[bool, str, Question]] = [
        (limits.budget is not None, "the budget", _with(question, replace(limits, budget=None))),
        (
            bool(limits.nodes_by_region),
            "the number of nodes in a region",
            _with(question, replace(limits, nodes_by_region=())),
        ),
        (
            limits.surviving_share > 0,
            "the share that must survive",
            _with(question, replace(limits, surviving_share=0.0)),
        ),
        (free != question.machines, "the number of machines of an offer", replace(question, machines=free)),
    ]
    for there, name, eased in tries:
        if not there:
            continue
        kept = cells(eased.machines, can, eased.limits)
        solved = _tried(Programme(eased.machines, can.flows, kept, eased.limits), seconds, gap=0.05)
        if solved is not None:
            micros = sum(eased.machines[member].micros * count for member, count in solved.counts.items())
            yield f"{name} ({_said(name, limits)}without it the plan costs {dollars(micros)} an hour)"


def _said(name: str, limits: Limits) -> str:
    if name == "the budget" and limits.budget is not None:
        return f"{dollars(limits.budget)} an hour; "
    return f"{limits.surviving_share:.0%}; " if name == "the share that must survive" else ""


def _with(question: Question, limits: Limits) -> Question:
    return replace(question, limits=limits)


def _tried(programme: Programme, seconds: float, gap: float = 0.01) -> Solved | None:
    try:
        return programme.solve(gap, seconds)
    except TimeoutError:
        return None


def _no_plan(what: str, fix: str, *models: str) -> InvalidInput:
    return InvalidInput(
        f"There is no such plan: {what}.", reason="NO_PLAN", fix=fix, metadata={"models": ",".join(models)[:500]}
    )
