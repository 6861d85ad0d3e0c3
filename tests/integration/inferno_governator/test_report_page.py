"""The report as a page, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from inferno_governator.analysis.breakdown import Dimension
from inferno_governator.analysis.cost_report import Question, Reporter
from inferno_governator.analysis.periods import Period
from inferno_governator.reports.html import html
from tests.integration.inferno_governator.browser import page
from tests.unit.inferno_governator.items import H100, L4, MINUTE, idle, item, unused

# Of each plot: how many of its bars can be seen, and whether it is as wide as a plot must be to be read.
_PLOTS = """[...document.querySelectorAll("svg")].map(svg => [
    [...svg.querySelectorAll("rect")].filter(bar => {
        const box = bar.getBoundingClientRect();
        return box.width > 1 && box.height > 1 && getComputedStyle(bar).fill !== "rgb(0, 0, 0)";
    }).length,
    svg.getBoundingClientRect().width > 600,
])"""
# The ground, and the ink of a heading.
_COLOURS = """[
    getComputedStyle(document.body).backgroundColor,
    getComputedStyle(document.querySelector("h1")).color,
]"""


def report(tmp_path: Path) -> Path:
    reserved = replace(H100, origin="reservation", commitment="r", committed=H100.price)
    reporter = Reporter(Question(Period(MINUTE, MINUTE + 1440), (Dimension.MODEL,), timeline=True))
    for hour in range(24):
        at = MINUTE + 60 * hour
        reporter.add([item(start_minute=at, requests=10), idle("b", L4, start_minute=at)])
        reporter.add([unused(1_000_000 * (hour % 3), reserved, start_minute=at)])
    file = tmp_path / "report.html"
    file.write_text(html(reporter.report()), "utf-8")
    return file


async def test_a_browser_shows_its_plots_in_light_and_dark_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    file = report(tmp_path)
    async with page() as shown:
        colours = []
        for scheme in ("light", "dark"):
            await shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            await shown.open(file)
            assert "Cost, " in await shown.value("document.title")
            costs, use = await shown.value(_PLOTS)
            # Work and idleness in each hour, and what is unused in two hours of three.
            assert costs == [24 + 24 + 16, True], scheme
            assert use == [24, True], scheme
            colours.append(await shown.value(_COLOURS))
        assert shown.requests == [file.as_uri()] * 2
        assert shown.complaints == []
    light, dark = ([_brightness(each) for each in both] for both in colours)
    assert light[0] > 200
    assert light[1] < 60
    assert dark[0] < 60
    assert dark[1] > 200


def _brightness(colour: str) -> float:
    parts = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(parts) / len(parts)
