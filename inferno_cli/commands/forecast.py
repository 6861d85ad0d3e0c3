"""``inferno forecast``: which demand is expected when a node that is started now serves, and why it is expected."""

from __future__ import annotations

import rich_click as click

from inferno_cli.asking import Asked, asking


@click.command("forecast")
@click.option("--model", default="", metavar="NAME", help="Only this model.")
@click.option("--scores", is_flag=True, help="How each way to forecast did on the model's past, and why it was chosen.")
@asking
def command(asked: Asked, model: str, scores: bool) -> None:
    """Show the demand that is expected of each model a boot time ahead (docs/deciding.md). JSON has all scores."""
    from inferno_cli import forecasts

    forecasts.show(asked, model, scores=scores)
