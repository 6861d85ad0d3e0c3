"""``inferno cost``: what things cost, why that changed, and the bill for other programs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output

_PERIOD = (
    "today, yesterday, this-week, last-week, this-month, last-month; a length up to now (90m, 24h, 7d, 4w); a month "
    "(2026-10); START..END in ISO 8601. All in UTC"
)


@click.group("cost", invoke_without_command=True)
@click.option(
    "--since", metavar="DURATION", help="Length of the period up to its end, like 90s, 15m, 1h, 7d (default 1h)."
)
@click.option("--start", metavar="TIME", help="Start of the period, ISO 8601; without an offset it is UTC.")
@click.option("--end", metavar="TIME", help="End of the period, ISO 8601 (default: now).")
@mesh.endpoint_option
@mesh.timeout_option(10.0)
@output.output_option
@click.pass_context
def command(
    context: click.Context,
    since: str | None,
    start: str | None,
    end: str | None,
    endpoint: mesh.Endpoint,
    timeout: float,
    output: output.Format,
) -> None:
    """Show what each node and model did and cost; with a subcommand, more of it.

    The lines add up to the total exactly. JSON carries millionths of a US dollar.
    """
    if context.invoked_subcommand:
        return
    from inferno_cli import bill, period

    chosen = period.choose(since, start, end, now=datetime.now().astimezone())
    report = mesh.within(timeout, lambda: bill.ask(endpoint, chosen, timeout), f"Asking the mesh at {endpoint}")
    bill.show(report, output)


@command.command("report")
@click.option("--period", default="7d", metavar="PERIOD", help=f"{_PERIOD} (default 7d).")
@click.option(
    "--by",
    "dimensions",
    default="model",
    metavar="DIMENSION,...",
    help="Lines: node, model, version, team, key, provider, region, gpu, instance, spot, purpose, commitment, day, "
    "hour (default model).",
)
@click.option(
    "--where", "filters", multiple=True, metavar="DIMENSION=VALUE", help="Count only this; may be given several times."
)
@click.option("--compare", metavar="PERIOD", help="Say why the cost changed since this period, or: previous.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Fold all but the N dearest lines into one.")
@click.option(
    "-o",
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown", "html"]),
    default="table",
    help="A table, JSON, Markdown, or a page with plots (default table).",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to a file.")
@mesh.endpoint_option
@mesh.timeout_option(30.0)
def report(form: str, out: Path | None, endpoint: mesh.Endpoint, timeout: float, **asked: Any) -> None:
    """Break the cost of a period down, and say why it changed.

    The lines add up to the total, also as they are rounded. Idleness, overhead and what is
    unused of commitments are lines of their own.
    """
    from inferno_cli import cost_report

    question = cost_report.question(**asked, timeline=form != "table")
    answer = mesh.within(
        timeout, lambda: cost_report.ask(endpoint, question, timeout), f"Asking the mesh at {endpoint}"
    )
    output.deliver(cost_report.render(answer, form), out)


@command.command("devices")
@click.option("--period", default="24h", metavar="PERIOD", help=f"{_PERIOD} (default 24h).")
@click.option("--node", default="", metavar="NAME", help="Only this node.")
@click.option("--step", type=click.Choice(["minute", "hour", "day"]), help="A line for each of these (default: one).")
@mesh.endpoint_option
@mesh.timeout_option(30.0)
@output.output_option
def devices(
    period: str, node: str, step: str | None, endpoint: mesh.Endpoint, timeout: float, output: output.Format
) -> None:
    """Show how each node's CPUs and GPUs were used: how busy, how hot, what held them back, and their energy."""
    from inferno_cli import device_use

    asked = device_use.question(period, node, step)
    found = mesh.within(timeout, lambda: device_use.ask(endpoint, asked, timeout), f"Asking the mesh at {endpoint}")
    device_use.show(found, output, stretches=step is not None)


@command.command("export")
@click.option("--period", default="last-month", metavar="PERIOD", help=f"{_PERIOD} (default last-month).")
@click.option(
    "--where", "filters", multiple=True, metavar="DIMENSION=VALUE", help="Export only this; may be given several times."
)
@click.option("--hourly", is_flag=True, help="Rows of at most an hour (default: a day).")
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", help="Default csv.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write (default for CSV: standard output).",
)
@click.option("--account", default="inferno", metavar="ID", help="BillingAccountId (default inferno).")
@click.option("--account-name", default="Inferno mesh", metavar="NAME", help="BillingAccountName.")
@click.option("--provider", default="Unknown", metavar="NAME", help="Provider of nodes that name none.")
@mesh.endpoint_option
@mesh.timeout_option(600.0)
def export(form: str, out: Path | None, endpoint: mesh.Endpoint, timeout: float, **asked: Any) -> None:
    """Write the bill of a period in FOCUS 1.2, the FinOps Open Cost and Usage Specification.

    The sum of BilledCost is the bill, exactly. Parquet needs the extra: pip install 'inferno-mesh[export]'.
    """
    from inferno_cli import cost_export

    cost_export.check(form, out)
    question, columns = cost_export.question(**asked)
    done = mesh.within(
        timeout,
        lambda: cost_export.export(endpoint, question, form, out, columns),
        f"Exporting from the mesh at {endpoint}",
    )
    if out:
        output.say(f"Wrote {done.rows} rows, {output.money(done.cost_micros)}, to {out}")
