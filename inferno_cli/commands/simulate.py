"""``inferno simulate``: what a trace would have cost on fleets that nobody runs."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output
from inferno_cli.asking import Asked

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("simulate")
@click.argument("scenario", required=False, type=_FILE)
@click.option("--trace", type=_FILE, metavar="FILE", help="Requests or rates, as CSV; instead of a scenario's file.")
@click.option(
    "--alternative",
    "alternatives",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="A fleet and its policy, like name=small,price=1.86,profile=l40s.json,nodes=4,policy=hpa; several times.",
)
@click.option("--latency", metavar="DURATION", help="Promised time to the last token, like 10s.")
@click.option("--first-token", metavar="DURATION", help="Promised time to the first token, like 500ms.")
@click.option("--share", metavar="SHARE", help="Share of requests that must keep both (default 0.99).")
@click.option("--seed", type=click.IntRange(min=0), help="Of arrivals and losses (default 1, or the scenario's).")
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page with plots as well.")
@mesh.endpoint_option
@mesh.timeout_option(60.0)
@output.output_option
def command(
    scenario: Path | None,
    trace: Path | None,
    alternatives: tuple[str, ...],
    seed: int | None,
    html: Path | None,
    endpoint: mesh.Endpoint,
    timeout: float,
    output: output.Format,
    **objective: str | None,
) -> None:
    """Replay a trace on hypothetical fleets and compare what each would have cost and shown.

    SCENARIO is a YAML file; docs/simulate.md shows one. Only demand that the mesh recorded needs a mesh. The same seed
    gives the same answer.
    """
    from inferno_cli import output as out
    from inferno_cli import scenarios, simulating

    promised = {key: value for key, value in objective.items() if value}
    chosen, folder = scenarios.choose(scenario, trace, alternatives, promised, seed)
    played, outcomes = simulating.run(chosen, folder, Asked(endpoint, timeout, output))
    simulating.show(outcomes, played, chosen.seed, output)
    if html:
        from inferno_governator.reports import simulation

        out.deliver(simulation.html(outcomes, played), html)
