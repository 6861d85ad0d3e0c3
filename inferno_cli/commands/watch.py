"""``inferno watch``: what is watched, what was found, and what nobody needs to be told for a while."""

from __future__ import annotations

import rich_click as click

from inferno_cli.asking import Asked, asking


@click.group("watch")
def command() -> None:
    """See and set objectives, how fast their error budgets burn, and alerts with their causes."""


@command.command("ls")
@asking
def ls(asked: Asked) -> None:
    """Show each objective and how fast its error budget burns: at 1 it lasts its period exactly."""
    from inferno_cli import watching

    watching.show_watches(asked)


@command.command("alerts")
@click.option("--all", "ended", is_flag=True, help="Also those that are over.")
@click.option("--follow", is_flag=True, help="Go on: show each alert as it begins, changes or ends.")
@asking
def alerts(asked: Asked, ended: bool, follow: bool) -> None:
    """Show what was found and lasts: its cause, the figures behind it, and what to look at next."""
    from inferno_cli import watching

    if follow:
        watching.follow(asked)
    else:
        watching.show_alerts(asked, ended=ended)


@command.command("silence")
@click.argument("fingerprint")
@click.option("--for", "holds", default="1h", metavar="DURATION", help="How long, as 30m or 7d (default 1h).")
@click.option("--lift", is_flag=True, help="Tell of it again.")
@asking
def silence(asked: Asked, fingerprint: str, holds: str, lift: bool) -> None:
    """Let nobody be told of the alert FINGERPRINT for a while; it lasts all the same."""
    from inferno_cli import watching

    watching.silence(asked, fingerprint, None if lift else holds)


@command.group("objective")
def objective() -> None:
    """Say what models promise: the share of requests that must be good, and which ones are.

    A promise in the settings file (governator.objectives) counts before one of the same model that is set here.
    """


@objective.command("ls")
@asking
def list_objectives(asked: Asked) -> None:
    """Show what each model promises, and who said so."""
    from inferno_cli import objectives

    objectives.show(asked)


@objective.command("set")
@click.argument("model")
@click.option("--good", type=float, default=99.0, metavar="PERCENT", help="Requests that must be good (default 99).")
@click.option(
    "--within-ms",
    type=click.FloatRange(0, 3_600_000),
    default=0.0,
    metavar="MS",
    help="What a good request takes at most (default: any time).",
)
@click.option(
    "--queue-ms",
    type=click.FloatRange(0, 3_600_000),
    default=0.0,
    metavar="MS",
    help="Mean time in a node's queue beyond which a minute is bad (default: any).",
)
@click.option(
    "--days", type=click.IntRange(1, 90), default=30, metavar="DAYS", help="Period of the error budget (default 30)."
)
@asking
def set_objective(asked: Asked, model: str, good: float, within_ms: float, queue_ms: float, days: int) -> None:
    """Let MODEL promise that so many of its requests are good; what it promised before is replaced."""
    from inferno_cli import objectives

    objectives.keep(asked, objectives.objective(model, good, within_ms, queue_ms, days))


@objective.command("rm")
@click.argument("model")
@asking
def delete_objective(asked: Asked, model: str) -> None:
    """Forget what MODEL promises."""
    from inferno_cli import objectives

    objectives.delete(asked, model)
