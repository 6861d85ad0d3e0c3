"""A report as Markdown: for a chat, an issue or a wiki."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from inferno_governator.analysis.cost_report import CostReport, Timeline
from inferno_governator.analysis.unit_cost import rounded, unit_for
from inferno_governator.reports import figures
from inferno_governator.reports.sheet import columns, total_dollars
from inferno_governator.reports.words import explanation, remarks

_BAR = 30
# What has a meaning in a table or in running text.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def markdown(report: CostReport) -> str:
    """The whole report."""
    parts = [f"# Cost, {figures.span(report.period)}", f"Total **{total_dollars(report)}**{_left_out(report)}"]
    parts += remarks(report)
    if report.lines:
        parts.append(_lines(report))
    if report.change and report.compared_with:
        told = explanation(report.change)
        parts += [
            f"## Since {figures.span(report.compared_with)}",
            told.headline(),
            "\n".join(f"- {line}" for line in told.lines()),
        ]
    if report.timeline:
        parts += ["## Over time", _timeline(report.timeline)]
    return "\n\n".join(parts) + "\n"


def _left_out(report: CostReport) -> str:
    if not report.where:
        return "."
    wanted = "; ".join(f"{figures.title(each)} {', '.join(sorted(of))}" for each, of in report.where.items())
    unit = unit_for(report.bill_micros)
    whole = figures.dollars(rounded([report.bill_micros], unit)[0], unit)
    return f" of {whole} in all: only {_escaped(wanted)}."


def _lines(report: CostReport) -> str:
    sheet = columns(report)
    titles = [column.title for column in sheet]
    rows = zip(*(column.cells for column in sheet), strict=True)
    total = [column.total for column in sheet]
    return table(titles, [column.right for column in sheet], [*rows, total] if report.by else rows)


def table(titles: Sequence[str], right: Sequence[bool], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown; ``right`` says which columns hold figures."""
    ruler = ["---:" if each else "---" for each in right]
    escaped = [[_escaped(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, ruler, *escaped))


def _timeline(timeline: Timeline) -> str:
    costs = [bucket.cost_micros for bucket in timeline.buckets]
    unit = unit_for(sum(costs))
    shown = rounded(costs, unit)
    most = max(costs, default=0)
    rows = [
        (
            figures.moment(bucket.start_minute),
            figures.dollars(cost, unit),
            figures.percent(bucket.worked_micros, bucket.paid_micros),
            "\N{FULL BLOCK}" * (-(-_BAR * bucket.cost_micros // most) if most else 0),
        )
        for bucket, cost in zip(timeline.buckets, shown, strict=True)
    ]
    return table(("from (UTC)", "cost", "utilisation", ""), (False, True, True, False), rows)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
