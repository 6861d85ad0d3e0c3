"""Why a bill changed, in words."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from inferno_governator.analysis.change import Change
from inferno_governator.analysis.cost_report import CostReport
from inferno_governator.analysis.unit_cost import half_up, rounded, unit_for
from inferno_governator.reports.figures import dollars, percent


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of a change: a sentence without its amount, and the amount in micro-dollars, rounded to be shown."""

    name: str
    sentence: str
    micros: int
    parts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A change as it is shown: rounded, ``before_micros`` and the causes add up to ``after_micros``."""

    unit: int
    before_micros: int
    after_micros: int
    causes: tuple[Cause, ...]

    @property
    def difference_micros(self) -> int:
        """The whole change, as it is shown."""
        return self.after_micros - self.before_micros

    def headline(self) -> str:
        """The whole change in one sentence."""
        before, after = (dollars(amount, self.unit) for amount in (self.before_micros, self.after_micros))
        if not self.difference_micros:
            return f"The cost did not change: {after}."
        verb = "rose" if self.difference_micros > 0 else "fell"
        by = dollars(abs(self.difference_micros), self.unit)
        relative = f" ({percent(abs(self.difference_micros), self.before_micros)})" if self.before_micros else ""
        return f"The cost {verb} by {by}{relative}, from {before} to {after}."

    def lines(self) -> list[str]:
        """A sentence for each cause, with its amount and those of its parts."""
        return [f"{cause.sentence}: {self._amount(cause.micros)}{self._parts(cause)}" for cause in self.causes]

    def _amount(self, micros: int) -> str:
        return dollars(micros, self.unit, signed=True)

    def _parts(self, cause: Cause) -> str:
        told = [f"{name} {self._amount(micros)}" for name, micros in cause.parts if micros]
        return f" ({', '.join(told)})" if told else ""


def explanation(change: Change) -> Explanation:
    """A change in words, its amounts rounded so that they still add up."""
    unit = unit_for(max(change.before_micros, change.after_micros))
    before, after = (half_up(amount, unit) * unit for amount in (change.before_micros, change.after_micros))
    exact = (
        change.price_micros, change.demand_micros, change.idle_micros, change.effort_micros, change.models_micros,
        change.nodes_micros,
    )  # fmt: skip
    price, demand, idle, effort, models, nodes = rounded(exact, unit, after - before)
    causes = (
        Cause("price", _moved("Prices", change.price_ratio, price), price),
        Cause("demand", _moved("Demand", change.demand_ratio, demand), demand),
        Cause(
            "utilisation",
            _utilisation(change.utilization_before, change.utilization_after),
            idle + effort,
            (("time without work", idle), ("time per request", effort)),
        ),
        Cause(
            "mix",
            "Mix" if models or nodes else "Mix did not change",
            models + nodes,
            (("which models were asked", models), ("which nodes were paid for", nodes)),
        ),
    )
    return Explanation(unit, before, after, causes)


def _moved(what: str, ratio: Fraction | None, micros: int) -> str:
    if ratio is None:
        return f"{what} (nothing to compare with)" if micros else f"{what} did not change"
    moved = percent(abs(ratio - 1))
    if moved == "0.0 %":
        return what if micros else f"{what} did not change"
    return f"{what} {'rose' if ratio > 1 else 'fell'} {moved}"


def _utilisation(before: Fraction | None, after: Fraction | None) -> str:
    if before is None or after is None:
        return "Utilisation"
    first, second = percent(before), percent(after)
    if first == second:
        return f"Utilisation stayed at {second}"
    return f"Utilisation {'rose' if after > before else 'fell'} from {first} to {second}"


def remarks(report: CostReport) -> list[str]:
    """What a reader must know to believe the figures."""
    told = []
    if report.total.paid_micros and not report.total.cost_micros:
        told.append("None of these nodes has a price, so they cost nothing here.")
    if report.total.tokens and report.shares_tokens:
        told.append(
            "Tokens of teams and keys are shares of what their models counted, by the bytes that callers sent and got, "
            "unless answers name their tokens."
        )
    return told
