"""How long it takes to explain a month of 1,000 nodes once its items are read: break it down, compare it, render it.

::

    python -m benchmarks.cost_reports
    python -m benchmarks.cost_reports --nodes 2000 --days 31

Items are made in memory, one for each node, day and purpose; the store's side of a report is not in these figures.
Results go to ``benchmarks/results/cost_reports.{json,md}``.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.environment import machine
from inferno_governator import cost_wire
from inferno_governator.analysis.breakdown import Dimension
from inferno_governator.analysis.cost_report import CostReport, Question, Reporter
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.analysis.periods import Period
from inferno_governator.export.focus import Origin, columns, rows
from inferno_governator.export.writers import CsvWriter
from inferno_governator.reports.html import html
from inferno_governator.usage import Facts

_RESULTS = Path(__file__).parent / "results"
_DAY = 1440
_DAY_MICROS = _DAY * 60_000_000
_KINDS = (
    Facts(price=6_880_000, region="us-east-1", device="NVIDIA H100", gpu_count=1, instance_type="p5.4xlarge"),
    Facts(price=805_000, region="eu-west-1", device="NVIDIA L4", gpu_count=1, instance_type="g6.xlarge", spot=True),
)


def month(start: int, nodes: int, days: int) -> list[Item]:
    """Work of two thirds of each node's time, and idleness."""
    made = []
    for day in range(days):
        for node in range(nodes):
            facts = _KINDS[node % 2]
            for purpose, paid in ((Purpose.WORK, _DAY_MICROS * 2 // 3), (Purpose.IDLE, _DAY_MICROS // 3)):
                work = purpose is Purpose.WORK
                made.append(
                    Item(
                        start_minute=start + day * _DAY,
                        minutes=_DAY,
                        node=f"node-{node}",
                        facts=facts,
                        purpose=purpose,
                        model=f"model-{node % 7}" if work else "",
                        version="1" if work else "",
                        team=f"team-{node % 5}" if work else "",
                        key=f"key-{node % 11}" if work else "",
                        paid_micros=paid,
                        cost_micros=facts.price * paid // 3_600_000_000,
                        requests=10_000 + node if work else 0,
                    )
                )
    return made


def measure(nodes: int, days: int) -> dict[str, float]:
    """Seconds of each step, the best of three."""
    period = Period(_DAY * 20_000, _DAY * (20_000 + days))
    before = Period(period.start_minute - days * _DAY, period.start_minute)
    items, earlier = month(period.start_minute, nodes, days), month(before.start_minute, nodes, days)

    def explained(*by: Dimension, compare: bool = False, timeline: bool = False) -> CostReport:
        reporter = Reporter(Question(period, by, compare=before if compare else None, timeline=timeline))
        reporter.add(items)
        if compare:
            reporter.add_before(earlier)
        report = reporter.report()
        assert report.total.cost_micros == sum(item.cost_micros for item in items)
        return report

    def exported() -> None:
        writer, shape = CsvWriter(io.StringIO(), columns(Origin())), columns(Origin())
        writer.write(row for item in items for row in rows(item, shape))

    by_node = explained(Dimension.NODE, timeline=True)
    steps: dict[str, Callable[[], object]] = {
        "by model": lambda: explained(Dimension.MODEL),
        "by node": lambda: explained(Dimension.NODE),
        "by node, model, team and day": lambda: explained(
            Dimension.NODE, Dimension.MODEL, Dimension.TEAM, Dimension.DAY
        ),
        "by team, compared with the month before, over time": lambda: explained(
            Dimension.TEAM, compare=True, timeline=True
        ),
        "to the wire and back, by node": lambda: cost_wire.decode(cost_wire.encode(by_node)),
        "the page, by node": lambda: html(by_node),
        "FOCUS as CSV": exported,
    }
    return {name: round(min(_seconds(step) for _ in range(3)), 3) for name, step in steps.items()}


def _seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    seconds = measure(options.nodes, options.days)
    about = {"nodes": options.nodes, "days": options.days, "items": options.nodes * options.days * 2, **machine()}
    rows = "\n".join(f"| {name} | {took:.3f} |" for name, took in seconds.items())
    text = (
        f"# Cost reports\n\nSeconds to explain {about['items']} items in memory (the best of three); reading them from "
        f"the store is not in here.\n\n| step | s |\n|---|---:|\n{rows}\n\n"
        f"{', '.join(f'{name} {value}' for name, value in about.items())}\n"
    )
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "cost_reports.md").write_text(text)
    (options.results / "cost_reports.json").write_text(json.dumps({**about, "seconds": seconds}, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
