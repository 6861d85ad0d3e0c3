"""Alternatives of a simulation side by side: as rows for tables and JSON, and as a page with plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from inferno_governator.money import MICROS, dollars
from inferno_governator.reports import svg
from inferno_governator.reports.page import figure, legend, page, table
from inferno_governator.simulation.outcome import Outcome
from inferno_governator.simulation.trace import RequestTrace, Trace

_TITLES = (
    "alternative", "cost", "a thousand", "within", "kept", "p50", "p95", "p99", "first p99", "late", "refused",
    "node hours", "idle", "starts", "most",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Replayed:
    """The demand that was replayed: its length in seconds, its mean sizes in tokens, and whether request by request."""

    name: str
    seconds: float
    mean_input: float
    mean_output: float
    exact: bool

    @classmethod
    def of(cls, trace: Trace) -> Replayed:
        """Of a trace."""
        return cls(trace.name, trace.seconds, trace.mean_input, trace.mean_output, isinstance(trace, RequestTrace))


def document(outcomes: Sequence[Outcome], replayed: Replayed, seed: int) -> dict[str, Any]:
    """All that is known, as JSON values: micro-dollars and seconds."""
    return {
        "trace": {
            "name": replayed.name,
            "seconds": replayed.seconds,
            "kind": "requests" if replayed.exact else "rates",
            "mean_input_tokens": round(replayed.mean_input, 1),
            "mean_output_tokens": round(replayed.mean_output, 1),
        },
        "seed": seed,
        "alternatives": [row(each) for each in outcomes],
    }


def row(outcome: Outcome) -> dict[str, Any]:
    """One alternative as JSON values."""
    return {
        "name": outcome.name,
        "cost_micros": outcome.cost_micros,
        "micros_per_thousand": outcome.micros_per_thousand,
        "requests": outcome.requests,
        "served": outcome.served,
        "refused": outcome.refused,
        "late": outcome.late,
        "within": round(outcome.within, 6),
        "kept": outcome.kept,
        "retried": outcome.retried,
        "latency_seconds": _quantiles(outcome.latency),
        "first_token_seconds": _quantiles(outcome.first_token),
        "node_hours": round(outcome.node_seconds / 3600, 4),
        "idle": round(outcome.idle, 6),
        "starts": outcome.starts,
        "stops": outcome.stops,
        "losses": outcome.losses,
        "refused_actions": outcome.refused_actions,
        "most_nodes": outcome.most_nodes,
        "exact": outcome.exact,
    }


def _quantiles(values: tuple[float, float, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


def cells(outcome: Outcome) -> list[str]:
    """One alternative as a line of the comparison, in the order of its titles."""
    return [
        outcome.name,
        dollars(outcome.cost_micros),
        dollars(outcome.micros_per_thousand),
        f"{outcome.within:.2%}",
        "yes" if outcome.kept else "no",
        *(f"{each:.3g} s" for each in outcome.latency),
        f"{outcome.first_token[2]:.3g} s",
        f"{outcome.late:,}",
        f"{outcome.refused:,}",
        f"{outcome.node_seconds / 3600:,.1f}",
        f"{outcome.idle:.0%}",
        str(outcome.starts),
        str(outcome.most_nodes),
    ]


def titles() -> tuple[str, ...]:
    """What the cells of a line are."""
    return _TITLES


def html(outcomes: Sequence[Outcome], replayed: Replayed) -> str:
    """A page that compares the alternatives, with a plot of nodes and demand for each."""
    how = "request by request" if replayed.exact else "as a fluid, from rates"
    summary = f"<p>{escape(replayed.name)}: {replayed.seconds / 3600:,.1f} h, replayed {how}.</p>\n"
    compared = table("Alternatives", _TITLES, [False, *[True] * (len(_TITLES) - 1)], map(cells, outcomes), 1)
    sections = [summary, f"<section>\n<h2>Alternatives</h2>\n{compared}</section>\n", _costs(outcomes)]
    sections += [_nodes(at, outcome) for at, outcome in enumerate(outcomes) if outcome.moments]
    return page(f"Simulation of {replayed.name}", sections)


def _costs(outcomes: Sequence[Outcome]) -> str:
    bars = [
        svg.Bar(each.name, [each.cost_micros / MICROS], f"{each.name}: {dollars(each.cost_micros)}")
        for each in outcomes
    ]
    about = svg.About("cost", "Cost", "The bill of each alternative; the table beside it has each value.")
    rows = [(each.name, dollars(each.cost_micros), f"{each.within:.2%}") for each in outcomes]
    listed = table(about.title, ["alternative", "cost", "within"], [False, True, True], rows, 1)
    return figure(about.title, svg.bars(about, bars, ["c0"], lambda value: f"${value:,.6g}"), "", listed)


def _nodes(at: int, outcome: Outcome) -> str:
    shown = outcome.moments[:: max(1, len(outcome.moments) // 200)]
    bars = [
        svg.Bar(
            f"{each.at / 3600:.1f} h",
            [float(each.serving), float(each.starting)],
            f"{each.at / 3600:.1f} h: {each.serving} serve, {each.starting} start, {each.rate:.3g} requests/s, "
            f"{each.within:.1%} within the objective",
        )
        for each in shown
    ]
    description = "Nodes over the trace; the table beside it has demand and share within the objective as well."
    about = svg.About(f"nodes-{at}", f"Nodes of {outcome.name}", description)
    rows = [
        (f"{each.at / 3600:.2f}", f"{each.rate:.3g}", str(each.serving), str(each.starting), f"{each.within:.1%}")
        for each in shown
    ]
    columns = ["hours", "requests/s", "serving", "starting", "within"]
    listed = table(about.title, columns, [False, *[True] * 4], rows, 1)
    classes = ["c0", "idle"]
    plot = svg.bars(about, bars, classes, lambda value: f"{value:.6g}")
    return figure(escape(about.title), plot, legend(["serving", "starting"], classes), listed)
