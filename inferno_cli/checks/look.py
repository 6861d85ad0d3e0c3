"""One ``inferno check``: collect the facts, judge them, print what was found."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from inferno_cli import bill, mesh_state, output
from inferno_cli.checks import facts, live, machine
from inferno_cli.checks.finding import Result, Status, run
from inferno_cli.endpoint import Endpoint
from inferno_cli.output import Column
from inferno_cli.period import Period
from inferno_runtime.errors import InfernoError

_HERE = ("127.0.0.1", "localhost", "::1")
_PORT = 8080
_TELEMETRY_AGE = timedelta(minutes=5)


def look(endpoint: Endpoint, data_dir: Path | None, categories: Sequence[str], timeout: float) -> list[Result]:
    """Check this machine and the mesh at ``endpoint``, if one answers.

    Raises:
        InvalidInput: The endpoint is not ``host:port``.
    """
    host, port = endpoint.place
    if host not in _HERE:
        port = _PORT  # The mesh asked about is elsewhere: here the question is whether one could be started.
    mesh = asyncio.run(_ask(endpoint, timeout))
    here = facts.collect(data_dir, port, endpoint_answers=mesh.state is not None)
    return run(machine.CHECKS, here, categories) + run(live.CHECKS, mesh, categories)


async def _ask(endpoint: Endpoint, timeout: float) -> live.LiveFacts:
    try:
        state = await mesh_state.ask(endpoint, timeout)
    except InfernoError as error:
        return live.LiveFacts(str(endpoint), why=error.message)
    now = datetime.now(UTC)
    try:
        report = await bill.ask(endpoint, Period(now - _TELEMETRY_AGE, now), timeout)
    except InfernoError as error:
        return live.LiveFacts(str(endpoint), state, bill_why=error.message)
    measured = frozenset(line.node_id for line in report.lines if line.measured_seconds > 0)
    return live.LiveFacts(str(endpoint), state, measured_nodes=measured, dropped_samples=report.dropped_samples)


_MARKS = {Status.OK: "ok", Status.WARN: "WARN", Status.FAIL: "FAIL", Status.SKIP: "skip"}
_COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}


def _colour(status: Any) -> str | None:
    return _COLOURS.get(status)


_COLUMNS = (
    Column("status", "STATUS", show=lambda status: _MARKS[status], colour=_colour),
    Column("id", "ID"),
    Column("title", "CHECK"),
    Column("evidence", "FOUND"),
)


def show(results: Sequence[Result], form: output.Format) -> None:
    """Print the results: a table and then each fix, or a JSON list."""
    rows = [asdict(each) for each in results]
    if form == "json":
        output.print_json(rows)
        return
    output.print_table(_COLUMNS, rows)
    for each in results:
        if each.fix:
            output.print_line(f"\n{each.id} {each.title}\n  fix: {each.fix}")
    counts = Counter(each.status for each in results)
    output.print_line("\n" + ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
