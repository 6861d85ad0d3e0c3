"""``inferno decisions``: what the governator decided about nodes, why, and what came of it."""

from __future__ import annotations

import rich_click as click

from inferno_cli.asking import Asked, asking

MODES = ("observe", "advise", "act")
FORMS = ("markdown", "html", "json")


@click.group("decisions")
def command() -> None:
    """See, explain, approve and check decisions about which nodes are started and stopped.

    Every decision is in a ledger whose entries are chained by their hashes: what it was made from, what was thought of,
    who approved it, what happened and what it saved.
    """


@command.command("ls")
@click.option("--waiting", is_flag=True, help="Only those that wait for an approval.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, help="At most so many (default 20).")
@asking
def ls(asked: Asked, waiting: bool, limit: int) -> None:
    """Show decisions, the newest first."""
    from inferno_cli import decisions

    decisions.show_list(asked, limit, waiting=waiting)


@command.command("show")
@click.argument("number", type=click.IntRange(1))
@asking
def show(asked: Asked, number: int) -> None:
    """Show decision NUMBER with every entry of the ledger about it, as JSON."""
    from inferno_cli import decisions

    decisions.show(asked, number)


@command.command("explain")
@click.argument("number", type=click.IntRange(1))
@asking
def explain(asked: Asked, number: int) -> None:
    """Tell decision NUMBER in sentences: what was known, thought of and forbidden, and what came of it."""
    from inferno_cli import decisions

    decisions.explain(asked, number)


@command.command("approve")
@click.argument("number", type=click.IntRange(1))
@asking
def approve(asked: Asked, number: int) -> None:
    """Let what waits of decision NUMBER be done, if fresh facts still allow it."""
    from inferno_cli import decisions

    decisions.approve(asked, number)


@command.command("replay")
@click.argument("number", type=click.IntRange(1), required=False)
@asking
def replay(asked: Asked, number: int | None) -> None:
    """Make every decision again, or NUMBER alone, from what the ledger has kept, and check its chain.

    Exit code 3 when a decision comes out otherwise, or an entry is missing or changed.
    """
    from inferno_cli import decisions

    decisions.replay(asked, number or 0)


@command.command("watch")
@asking
def watch(asked: Asked) -> None:
    """Follow the ledger: show each entry as it is written."""
    from inferno_cli import decisions

    decisions.watch(asked)


@command.command("mode")
@click.argument("mode", type=click.Choice(MODES), required=False)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the ledger.")
@asking
def mode(asked: Asked, mode: str | None, reason: str) -> None:
    """Show what the governator may do with its decisions, or let it do more or less.

    It may observe, advise (what is approved is done) or act (in pools that act). It holds until the settings change.
    """
    from inferno_cli import decisions

    if mode is None:
        decisions.show_mode(asked)
    else:
        decisions.set_mode(asked, mode, reason)


@command.command("report")
@click.option("--format", "form", type=click.Choice(FORMS), default="markdown", help="How it is written.")
@asking
def report(asked: Asked, form: str) -> None:
    """Write a report for auditors: who changed what, who was refused, and whether the ledger is whole."""
    from inferno_cli import compliance

    compliance.show(asked, form)
