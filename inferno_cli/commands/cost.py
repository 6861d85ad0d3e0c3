"""``inferno cost``: what each node and model did and cost over a period."""

from __future__ import annotations

from datetime import datetime

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output


@click.command("cost")
@click.option(
    "--since", metavar="DURATION", help="Length of the period up to its end, like 90s, 15m, 1h, 7d (default 1h)."
)
@click.option("--start", metavar="TIME", help="Start of the period, ISO 8601; without an offset it is UTC.")
@click.option("--end", metavar="TIME", help="End of the period, ISO 8601 (default: now).")
@mesh.endpoint_option
@mesh.timeout_option(10.0)
@output.output_option
def command(
    since: str | None,
    start: str | None,
    end: str | None,
    endpoint: mesh.Endpoint,
    timeout: float,
    output: output.Format,
) -> None:
    """Show what each node and model did and cost.

    The lines add up to the total exactly. JSON carries millionths of a US dollar.
    """
    from inferno_cli import bill, period

    chosen = period.choose(since, start, end, now=datetime.now().astimezone())
    report = mesh.within(timeout, lambda: bill.ask(endpoint, chosen, timeout), f"Asking the mesh at {endpoint}")
    bill.show(report, output)
