"""The fault table: each promise, what was measured, and what happens without healing.

::

    nox -s chaos                 # every row, into the results
    nox -s chaos -- --rows 1 4   # some rows, only printed

Each row runs through Envoy, for rows that promise it as a proxyless client too, and as a control on a cloud that lacks
what the row relies on (its healing, a drain, its disk). A row passes when no request failed, its times are within the
promise, and the control came to harm: a fault that does not bite proves nothing. Results of all rows go to
``benchmarks/results/chaos.{json,md}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cloud import Cloud, CloudError, cloud
from benchmarks.environment import machine
from benchmarks.faults import FAULTS
from benchmarks.faults.fault import NO_HEALING, Fault, Measured, Skipped
from benchmarks.faults.unmeasured import SKIPPED
from benchmarks.faults.view import envoy_path, proxyless_path
from benchmarks.load import Report

_RESULTS = Path(__file__).parent / "results"
_MODELS = Path(__file__).parent.parent / "tests" / "models"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Times in seconds."""

    row: int
    fault: str
    path: str
    promise: str
    sent: int
    failed: int
    worst: float
    detected: float | None
    recovered: float | None
    control_sent: int | None
    control_failed: int | None
    controlled: bool
    passed: bool
    missed: tuple[str, ...]
    note: str


def judge(fault: Fault, path: str, measured: Measured, control: Measured | None) -> Row:
    """Hold what was measured against the promise."""
    report = measured.report
    missed = [] if report.sent else ["it never recovered"]
    if fault.lossless and report.failed:
        missed.append(f"{report.failed} of {report.sent} requests failed")
    worst = 1.5 if path == "proxyless" and fault.worst else fault.worst
    for what, value, limit in (
        ("worst request", report.worst, worst),
        ("noticed after", measured.detected, fault.detect),
        ("recovered after", measured.recovered, fault.recover),
        ("gap", measured.gap, fault.gap),
    ):
        if limit is not None and (value is None or value > limit):
            missed.append(f"{what} {'never' if value is None else f'{value:.2f} s'}, promised {limit:g} s")
    if fault.grown is not None and (measured.grown is None or measured.grown > fault.grown):
        missed.append(f"memory grew by {measured.grown} MiB, promised {fault.grown:g}")
    if fault.lost is not None and (measured.lost or 0) > fault.lost:
        missed.append(f"{measured.lost} nodes lost, promised {fault.lost}")
    if fault.ratio is not None and (measured.ratio is None or measured.ratio > fault.ratio):
        missed.append(f"p99 {_times(measured.ratio)} the healthy one, promised {fault.ratio:g} times")
    for what, (least, most) in fault.bounds.items():
        found = measured.figures.get(what)
        if found is None or not least <= found <= most:
            promised = f"at most {most:g}" if least <= 0 else f"at least {least:g}"
            missed.append(f"{what}: {'not measured' if found is None else f'{found:.3g}'}, promised {promised}")
    if control is not None and not fault.bites(control):
        missed.append("the control run came to no harm: the fault did not bite")
    return Row(
        fault.row,
        fault.title,
        path,
        fault.promise,
        report.sent,
        report.failed,
        round(report.worst, 3),
        _rounded(measured.detected),
        _rounded(measured.recovered),
        control.report.sent if control else None,
        control.report.failed if control else None,
        fault.controlled,
        not missed,
        tuple(missed),
        "; ".join(filter(None, (_figures(measured), _figures(control, "in the control "), measured.note))),
    )


def _times(ratio: float | None) -> str:
    return "unknown beside" if ratio is None else f"{ratio:.1f} times"


def _figures(measured: Measured | None, where: str = "") -> str:
    return ", ".join(f"{where}{what}: {value:.3g}" for what, value in (measured.figures if measured else {}).items())


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


async def measure(faults: Sequence[Fault], scratch: Path) -> list[Row]:
    """Run the rows: first every control on clouds without healing, then every row on a healing one."""
    repository = scratch / "models"
    for model in ("whoami", "repeat", "brittle"):
        shutil.copytree(_MODELS / model, repository / model)
    controls = await _controls(faults, scratch, repository)
    rows: list[Row] = []
    for number, (config, env) in enumerate(dict.fromkeys((fault.config, fault.env) for fault in faults)):
        folder = scratch / f"healing-{number}"
        folder.mkdir()
        around = env(folder) if env else {}
        async with cloud(folder, nodes=3, model_repository=repository, config=config, env=around) as running:
            for fault in faults:
                if (fault.config, fault.env) == (config, env):
                    rows += await _measured(fault, running, controls.get(fault.title))
    return sorted(rows, key=lambda row: row.row)


async def _measured(fault: Fault, running: Cloud, control: Measured | str | None) -> list[Row]:
    paths = [await envoy_path(running)]
    if fault.proxyless:
        paths.append(await proxyless_path(running))
    rows = []
    for path in paths:
        try:
            measured = await fault.scenario(running, path)
        except (TimeoutError, CloudError) as error:
            measured = Measured(Report(), note=f"never recovered: {error}")
        rows.append(judge(fault, path.name, measured, control if isinstance(control, Measured) else None))
        _say(f"row {fault.row} {path.name}: {_summary(measured)} {'pass' if rows[-1].passed else 'MISSED'}")
    return rows


async def _controls(faults: Sequence[Fault], scratch: Path, repository: Path) -> dict[str, Measured | str]:
    """The control of each row by its title; what it says when its cloud never recovered.

    Rows share a cloud, one after the other, until one has left it in a state that is no use for the next.
    """
    controls: dict[str, Measured | str] = {}
    # Rows that spoil their cloud come last, or want other settings: each gets one of its own.
    waiting = sorted(
        (fault for fault in faults if fault.controlled),
        key=lambda fault: fault.spoils or fault.control_config != NO_HEALING,
    )
    while waiting:
        first = waiting[0]
        config = first.control_config
        async with cloud(
            scratch / f"control-{first.row}-{len(waiting)}", nodes=3, model_repository=repository, config=config
        ) as running:
            whole = True
            while whole and waiting and waiting[0].control_config == config:
                fault = waiting.pop(0)
                try:
                    scenario = fault.control or fault.scenario
                    controls[fault.title] = await scenario(running, await envoy_path(running))
                except (TimeoutError, CloudError) as error:
                    controls[fault.title] = str(error)
                    whole = False
                whole = whole and not fault.spoils
                _say(f"control {fault.row}: {_summary(controls[fault.title])}")
    return controls


def _summary(measured: Measured | str) -> str:
    if isinstance(measured, str):
        return f"never recovered ({measured})"
    report = measured.report
    return (
        f"{report.failed}/{report.sent} failed, worst {report.worst:.2f} s, detected {measured.detected}, "
        f"recovered {measured.recovered} {_figures(measured)} {measured.note} {report.statuses}"
    )


def _say(line: str) -> None:
    print(line, flush=True)


def markdown(rows: Sequence[Row], skipped: Sequence[Skipped], about: dict[str, Any]) -> str:
    """The table for people."""
    where = f"{about['cpu']}, {about['cores']} cores, {about['date']}, commit {about['commit']}, {about['versions']}"
    heads = ("#", "fault", "path", "promise", "failed / sent", "worst s", "noticed s", "recovered s")
    lines = [
        "# Faults: promised and measured",
        "",
        f"100 requests/s, 3 nodes, one fault at a time. {where}.",
        "",
        f"| {' | '.join(heads)} | control failed / sent | pass |",
        "|" + "---|" * (len(heads) + 2),
    ]
    for row in rows:
        control = f"{row.control_failed} / {row.control_sent}"
        if row.control_sent is None:
            control = "never recovered" if row.controlled else "–"
        verdict = "yes" if row.passed else "missed: " + "; ".join(row.missed)
        cells = (
            str(row.row),
            row.fault,
            row.path,
            row.promise,
            f"{row.failed} / {row.sent}",
            f"{row.worst:g}",
            _cell(row.detected),
            _cell(row.recovered),
            control,
            verdict + (f" – {row.note}" if row.note else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {one.row} | {one.title} |{' – |' * 7} skipped: {one.reason} |" for one in skipped]
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", help="only these rows")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.rows or fault.row in options.rows]
    with tempfile.TemporaryDirectory(prefix="inferno-chaos-") as scratch:
        rows = asyncio.run(measure(chosen, Path(scratch)))
    about = machine()
    skipped = [one for one in SKIPPED if not options.rows or one.row in options.rows]
    text = markdown(rows, skipped, about)
    _say("\n" + text)
    if options.rows:
        return
    _RESULTS.mkdir(exist_ok=True)
    record = {"machine": about, "rows": [asdict(row) for row in rows], "skipped": [asdict(one) for one in skipped]}
    (_RESULTS / "chaos.json").write_text(json.dumps(record, indent=1) + "\n")
    (_RESULTS / "chaos.md").write_text(text)


if __name__ == "__main__":
    main()
