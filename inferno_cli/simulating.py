"""``inferno simulate`` behind its flags: read, replay, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inferno_cli import output, scenarios
from inferno_governator.reports import simulation
from inferno_governator.simulation import trace_files
from inferno_governator.simulation.alternatives import compare
from inferno_governator.simulation.outcome import Outcome
from inferno_governator.simulation.trace import Trace


def run(scenario: scenarios.Scenario, folder: Path) -> tuple[Trace, list[Outcome]]:
    """Replay a scenario; files it names are beside the folder.

    Raises:
        NotFound, InvalidInput: Something that it names is not there, or cannot be.
    """
    alternatives = scenarios.alternatives(scenario, folder)
    trace = trace_files.read(folder / scenario.trace)
    return trace, compare(trace, alternatives, scenario.seed)


def show(outcomes: Sequence[Outcome], trace: Trace, seed: int, form: output.Format) -> None:
    """Write the comparison to standard output."""
    if form == "json":
        output.print_json(simulation.document(outcomes, trace, seed))
        return
    names = simulation.titles()
    columns = [output.Column(name, name.upper(), right=at > 0) for at, name in enumerate(names)]
    output.print_table(columns, [dict(zip(names, simulation.cells(each), strict=True)) for each in outcomes])
