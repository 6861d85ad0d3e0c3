"""``inferno explain``: where calls of a model go and why, what a node gets, what became of a call."""

from __future__ import annotations

import rich_click as click

from inferno_cli.asking import Asked, asking

_KINDS = {"model": "model", "node": "node_id", "call": "request_id"}


@click.command("explain")
@click.argument("subject")
@click.option("--as", "kind", type=click.Choice(list(_KINDS)), help="What SUBJECT is, if its name could be several.")
@asking
def command(asked: Asked, subject: str, kind: str | None) -> None:
    """Say where calls go and why.

    SUBJECT is a model or an alias (its candidates, their figures, and why each gets no more), a node (what it gets of
    each of its models), or a call's x-request-id (its tries; send a call with the header x-inferno-explain: 1 to have
    it kept).
    """
    from inferno_cli import operating

    answer = asked.ask(lambda stub: operating.explained(stub, subject, _KINDS[kind] if kind else None))
    operating.show(answer, asked.form, lambda: operating.explanation(answer))
