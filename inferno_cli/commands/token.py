"""``inferno token``: what a new member of the mesh shows once, to get its certificate."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output


@click.group("token")
def command() -> None:
    """Make, list and revoke the tokens that new members join with."""


@command.command("create")
@click.option(
    "--role", type=click.Choice(["node", "proxy", "client"]), default="node", help="What its bearer becomes (node)."
)
@click.option(
    "--name", "pattern", required=True, metavar="NAME", help="The name it is for, or a pattern such as 'gpu-*'."
)
@click.option("--lifetime", default="1h", metavar="DURATION", help="How long it can be used, like 15m, 1h, 7d (1h).")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the token to a new file of mode 0600, not to standard output.",
)
@mesh.endpoint_option
@mesh.timeout_option(10.0)
@output.output_option
def create(
    role: str,
    pattern: str,
    lifetime: str,
    out: Path | None,
    endpoint: mesh.Endpoint,
    timeout: float,
    output: output.Format,
) -> None:
    """Make a token for one join. It is shown this one time: the mesh keeps only a hash.

    The bearer gives it to inferno backend --join-token-file FILE.
    """
    from inferno_cli import period, tokens

    wanted = tokens.Wanted(role, pattern, period.duration(lifetime))
    if out is not None:
        tokens.refuse_existing(out)
    made = mesh.within(timeout, lambda: tokens.create(endpoint, wanted), f"Asking the mesh at {endpoint}")
    tokens.hand_over(made, out, output)


@command.command("list")
@mesh.endpoint_option
@mesh.timeout_option(10.0)
@output.output_option
def list_(endpoint: mesh.Endpoint, timeout: float, output: output.Format) -> None:
    """Show the tokens, without their secrets; those that ended are shown for a week."""
    from inferno_cli import tokens

    found = mesh.within(timeout, lambda: tokens.listed(endpoint), f"Asking the mesh at {endpoint}")
    tokens.show(found, output)


@command.command("revoke")
@click.argument("token_id", metavar="ID")
@mesh.endpoint_option
@mesh.timeout_option(10.0)
def revoke(token_id: str, endpoint: mesh.Endpoint, timeout: float) -> None:
    """End a token that was not used yet; ID is its second part, which inferno token list shows."""
    from inferno_cli import tokens
    from inferno_cli.output import say

    mesh.within(timeout, lambda: tokens.revoke(endpoint, token_id), f"Asking the mesh at {endpoint}")
    say(f"The token {token_id} is revoked.")
