"""``inferno budget``: what may be spent, by whom, and what is left of it."""

from __future__ import annotations

from typing import Any

import rich_click as click

from inferno_cli.asking import Asked, asking


def _scope_options(command: Any) -> Any:
    for name, text in (
        ("region", "Nodes of this region."),
        ("model", "This model."),
        ("key", "This API key, by its name."),
        ("team", "This team."),
    ):
        command = click.option(f"--{name}", default="", metavar="NAME", help=text)(command)
    return command


@click.group("budget")
def command() -> None:
    """Say what may be spent in a period, and see what is left of it.

    Budgets form a tree by what they cover: the one without a scope is the organisation's, those of teams lie below it,
    those of a team's keys below that; models and regions narrow a scope in the same way. Spending counts in every
    budget that covers it, and the one with the least left binds.
    """


@command.command("ls")
@asking
def ls(asked: Asked) -> None:
    """Show every budget: spent, forecast at the current rate, when it runs out, and which one binds."""
    from inferno_cli import budgets

    budgets.show(budgets.ask(asked), asked.form)


@command.command("set")
@click.argument("name")
@click.argument("dollars")
@click.option(
    "--period",
    default="month",
    metavar="PERIOD",
    help="day, week or month (UTC), or a rolling one: 1h to 72h, 1d to 366d (default month).",
)
@_scope_options
@click.option("--at", "thresholds", default="50,80,100", metavar="PERCENTS", help="Alert at (default 50,80,100).")
@click.option("--hard", is_flag=True, help="Let the proxies refuse the scope's requests once it is spent.")
@asking
def set_budget(asked: Asked, name: str, dollars: str, period: str, thresholds: str, hard: bool, **scope: str) -> None:
    """Let DOLLARS be spent in each period, as the budget NAME; one of that name is replaced."""
    from inferno_cli import budgets

    budgets.keep(asked, budgets.budget(name, dollars, period, thresholds, scope, hard=hard))


@command.command("rm")
@click.argument("name")
@asking
def rm(asked: Asked, name: str) -> None:
    """Forget the budget NAME."""
    from inferno_cli import budgets

    budgets.delete(asked, name)


@command.command("explain")
@_scope_options
@asking
def explain(asked: Asked, **scope: str) -> None:
    """Say which budgets limit what a caller, model or region may still spend, and which of them binds."""
    from inferno_cli import budgets

    budgets.explain(asked, scope)
