"""A report as one HTML page with plots, light and dark, that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from inferno_governator.analysis.cost_report import CostReport, Timeline
from inferno_governator.analysis.items import Purpose
from inferno_governator.analysis.unit_cost import rounded, unit_for
from inferno_governator.reports import figures, svg
from inferno_governator.reports.page import figure, legend, page, table
from inferno_governator.reports.sheet import columns, total_dollars
from inferno_governator.reports.words import Explanation, explanation, remarks

_MICROS = 1_000_000
_DAY = 1440
_REST = "all others"


def html(report: CostReport) -> str:
    """The whole page."""
    heading = f"Cost, {figures.span(report.period)}"
    sections = [_summary(report), _lines(report)]
    if report.change and report.compared_with:
        sections.insert(1, _change(explanation(report.change), figures.span(report.compared_with)))
    if report.timeline:
        sections += [_costs_over_time(report, report.timeline), _use_over_time(report.timeline)]
    return page(heading, sections)


def _summary(report: CostReport) -> str:
    total = report.total
    tiles = [
        ("Total", total_dollars(report)),
        ("Idle", figures.percent(total.idle_micros, total.cost_micros)),
        ("Overhead", figures.percent(total.overhead_micros, total.cost_micros)),
        *([("Unused", figures.percent(total.unused_micros, total.cost_micros))] if total.unused_micros else []),
        ("Utilisation", figures.percent(total.worked_micros, total.paid_micros)),
        ("Requests", figures.count(total.requests)),
    ]
    body = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
    remarked = "".join(f"<p>{escape(remark)}</p>\n" for remark in remarks(report))
    return f'<dl class="tiles">{body}</dl>\n{_filters(report)}{remarked}'


def _filters(report: CostReport) -> str:
    if not report.where:
        return ""
    wanted = "; ".join(f"{figures.title(each)} {', '.join(sorted(of))}" for each, of in report.where.items())
    unit = unit_for(report.bill_micros)
    whole = figures.dollars(rounded([report.bill_micros], unit)[0], unit)
    return f"<p>Only {escape(wanted)}, of {whole} in all.</p>\n"


def _change(told: Explanation, since: str) -> str:
    causes = "".join(f"<li>{escape(line)}</li>" for line in told.lines())
    return (
        f"<section>\n<h2>Since {escape(since)}</h2>\n<p>{escape(told.headline())}</p>\n<ul>{causes}</ul>\n</section>\n"
    )


def _lines(report: CostReport) -> str:
    sheet = columns(report)
    rows = list(zip(*(column.cells for column in sheet), strict=True))
    names = len(report.by)
    foot = [column.total for column in sheet] if report.by else None
    right = [column.right for column in sheet]
    listed = table("Lines of the bill", [column.title for column in sheet], right, rows, names, foot)
    return f"<section>\n<h2>Lines</h2>\n{listed}</section>\n"


def _costs_over_time(report: CostReport, timeline: Timeline) -> str:
    lines = [report.lines[at].line for at in timeline.lines]
    names = [figures.name(line) if report.by else "all" for line in lines]
    classes = [_colour(at, line.purpose) for at, line in enumerate(lines)]
    if any(bucket.line_micros[-1] for bucket in timeline.buckets):
        names.append(_REST)
        classes.append("rest")
    costs = [bucket.cost_micros for bucket in timeline.buckets]
    unit = unit_for(sum(costs))
    shown = [figures.dollars(cost, unit) for cost in rounded(costs, unit)]
    bars = [
        svg.Bar(
            label=_label(bucket.start_minute, timeline.step_minutes),
            # What takes back what was billed twice has no height.
            parts=[max(0, part) / _MICROS for part in bucket.line_micros[: len(names)]],
            sentence=f"{figures.moment(bucket.start_minute)}: {cost}",
        )
        for bucket, cost in zip(timeline.buckets, shown, strict=True)
    ]
    about = svg.About("cost", "Cost over time", _described(timeline, shown))
    plot = svg.bars(about, bars, classes, lambda value: f"${value:,.6g}")
    series = [rounded([bucket.line_micros[at] for bucket in timeline.buckets], unit) for at in range(len(names))]
    rows = [
        (figures.moment(bucket.start_minute), cost, *(figures.dollars(each[at], unit) for each in series))
        for at, (bucket, cost) in enumerate(zip(timeline.buckets, shown, strict=True))
    ]
    listed = table(about.title, ["from (UTC)", "cost", *names], [False, *[True] * (1 + len(names))], rows, 1)
    return figure(about.title, plot, legend(names, classes), listed)


def _use_over_time(timeline: Timeline) -> str:
    told = [figures.percent(bucket.worked_micros, bucket.paid_micros) for bucket in timeline.buckets]
    starts = [figures.moment(bucket.start_minute) for bucket in timeline.buckets]
    bars = [
        svg.Bar(
            label=_label(bucket.start_minute, timeline.step_minutes),
            parts=[100 * bucket.worked_micros / bucket.paid_micros if bucket.paid_micros else 0.0],
            sentence=f"{start}: {text}",
        )
        for bucket, start, text in zip(timeline.buckets, starts, told, strict=True)
    ]
    description = "The share of the nodes' paid time in which models computed; the table beside it has each value."
    about = svg.About("use", "Utilisation over time", description)
    plot = svg.bars(about, bars, ["c0"], lambda value: f"{value:.6g} %")
    rows = list(zip(starts, told, strict=True))
    return figure(about.title, plot, "", table(about.title, ["from (UTC)", "utilisation"], [False, True], rows, 1))


def _colour(at: int, purpose: Purpose | None) -> str:
    return f"c{at}" if purpose in (None, Purpose.WORK) else purpose.value


def _described(timeline: Timeline, shown: Sequence[str]) -> str:
    if not timeline.buckets:
        return "Nothing."
    most = max(range(len(shown)), key=lambda at: timeline.buckets[at].cost_micros)
    when = figures.moment(timeline.buckets[most].start_minute)
    return f"{len(shown)} bars, the highest {shown[most]} from {when} UTC; the table beside it has each value."


def _label(minute: int, step: int) -> str:
    date, clock = figures.moment(minute).split()
    return date[5:] if step >= _DAY else f"{date[5:]} {clock}"
