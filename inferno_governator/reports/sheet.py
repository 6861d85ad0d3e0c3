"""The lines of a report as columns of text, the same for terminals, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inferno_governator.analysis.breakdown import OF_WORK, Sums
from inferno_governator.analysis.cost_report import CostReport
from inferno_governator.analysis.unit_cost import nanos_per, rounded, unit_for
from inferno_governator.reports import figures


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, what each line has in it, and what the total has."""

    title: str
    cells: Sequence[str]
    total: str
    right: bool = True


def columns(report: CostReport) -> list[Column]:
    """The columns of a report. Costs are rounded so that they add up to the total as it is shown."""
    made = [*_names(report), *_costs(report)]
    total = report.total
    if OF_WORK.isdisjoint(report.by):
        if total.idle_micros:
            made.append(_each(report, "idle", lambda sums: figures.percent(sums.idle_micros, sums.cost_micros)))
        if total.overhead_micros:
            made.append(_each(report, "overhead", lambda sums: figures.percent(sums.overhead_micros, sums.cost_micros)))
    if total.unused_micros:
        made.append(_each(report, "unused", lambda sums: figures.percent(sums.unused_micros, sums.cost_micros)))
    made.append(_each(report, "requests", lambda sums: figures.count(sums.requests)))
    if total.errors:
        made.append(_each(report, "errors", lambda sums: figures.count(sums.errors)))
    made.append(_each(report, "per request", lambda sums: _unit_cost(sums, sums.requests)))
    if total.tokens:
        title = "tokens, shared" if report.shares_tokens else "tokens"
        made.append(_each(report, title, lambda sums: figures.count(sums.tokens)))
        made.append(_each(report, "per 1k tokens", lambda sums: _unit_cost(sums, sums.tokens, 1_000)))
    made.append(_each(report, "per 1k inferences", lambda sums: _unit_cost(sums, sums.inferences, 1_000)))
    return made


def total_dollars(report: CostReport) -> str:
    """The total as the columns show it."""
    unit = unit_for(report.total.cost_micros)
    return figures.dollars(rounded([report.total.cost_micros], unit)[0], unit)


def _names(report: CostReport) -> list[Column]:
    labels = [figures.labels(each.line, len(report.by)) for each in report.lines]
    return [
        Column(figures.title(dimension), [line[at] for line in labels], "" if at else "total", right=False)
        for at, dimension in enumerate(report.by)
    ]


def _costs(report: CostReport) -> list[Column]:
    costs = [each.line.sums.cost_micros for each in report.lines]
    unit = unit_for(report.total.cost_micros)
    shown = rounded(costs, unit)
    made = [Column("cost", [figures.dollars(cost, unit) for cost in shown], figures.dollars(sum(shown), unit))]
    if report.compared_with:
        before = rounded([each.before_micros or 0 for each in report.lines], unit)
        changes = [now - then for now, then in zip(shown, before, strict=True)]
        told = [figures.dollars(change, unit, signed=True) for change in changes]
        made.append(Column("change", told, figures.dollars(sum(changes), unit, signed=True)))
    if len(costs) > 1:
        made.append(Column("share", figures.shares(costs), "100.0 %" if sum(costs) > 0 else "-"))
    return made


def _each(report: CostReport, title: str, show: Callable[[Sums], str]) -> Column:
    return Column(title, [show(each.line.sums) for each in report.lines], show(report.total))


def _unit_cost(sums: Sums, units: int, per: int = 1) -> str:
    return figures.unit_cost(nanos_per(sums.cost_micros, units, per))
