"""``inferno watch``: what is watched, what was found, and what nobody needs to be told for a while."""

from __future__ import annotations

import rich_click as click

from inferno_cli.asking import Asked, asking


@click.group("watch")
def command() -> None:
    """See objectives and how fast their error budgets burn, and alerts with their causes."""


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
