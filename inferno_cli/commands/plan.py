"""``inferno plan``: the cheapest fleet for a demand, what it costs elsewhere, and what growth will need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from inferno_cli.asking import Asked, asking_for


def _bounds(command: Any) -> Any:
    for name, text in (
        ("cloud", "Only this cloud (may be repeated)."),
        ("region", "Only this region (may be repeated)."),
        ("gpu", "Only this family of GPUs (may be repeated)."),
    ):
        command = click.option(f"--{name}", f"{name}s", multiple=True, metavar="NAME", help=text)(command)
    for name, kind, metavar, text in (
        ("survive", float, "SHARE", "Share of the demand that still is served without any one region's spot machines."),
        ("budget", str, "USD", "At most so many dollars an hour."),
        ("gap", float, "SHARE", "How far above the proven bound it may be (default 0.01)."),
        ("seconds", float, "SECONDS", "Time for the solver (default 5)."),
    ):
        command = click.option(f"--{name}", type=kind, metavar=metavar, help=text)(command)
    command = click.option("--spot", is_flag=True, help="Spot machines as well.")(command)
    return click.option("--any-age", is_flag=True, help="Also at prices that are too old to act on.")(command)


@click.command("plan")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--compare", type=click.Choice(["cloud", "region"]), help="What it costs in each of them alone.")
@click.option("--growth", type=float, metavar="PERCENT", help="What is needed when demand grows so much a month.")
@click.option("--months", type=int, default=0, help="How many months ahead, with --growth (default 6).")
@click.option("--coverage", type=float, default=0.0, help="What its intervals are to cover (default 0.9).")
@_bounds
@asking_for(60.0)
def command(asked: Asked, file: Path | None, compare: str | None, growth: float | None, **rest: Any) -> None:
    """Find the cheapest fleet of whole nodes for the demand in FILE (YAML; docs/plan.md), and the bound that proves it.

    Without FILE: for what the mesh served in the last hour, by the curves its nodes have measured. Nothing is started
    or stopped.
    """
    from inferno_cli import plan_file, plans
    from inferno_runtime.errors import InvalidInput

    months, coverage = rest.pop("months"), rest.pop("coverage")
    if compare is not None and growth is not None:
        raise InvalidInput(
            "--compare and --growth are two questions.", reason="BAD_OPTIONS", fix="Ask one after the other."
        )
    question, days = plan_file.question(file, rest)
    if compare is not None:
        plans.show_comparison(plans.compare(asked, question, by_region=compare == "region"), asked.form)
    elif growth is not None:
        plans.show_months(plans.grow(asked, question, growth, months, coverage, days), asked.form)
    else:
        plans.show(plans.plan(asked, question), asked.form)
