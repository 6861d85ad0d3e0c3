"""``inferno key``: API keys of clients."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from inferno_cli import output


@click.group("key")
def command() -> None:
    """Make API keys for clients of the public port."""


@command.command("create")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the key into a new file that only you can read, instead of showing it.",
)
@output.output_option
def create(name: str, out: Path | None, output: output.Format) -> None:
    """Make an API key for the client NAME and show it, once, with the settings that let it in.

    The proxy needs the hash alone: put the lines into its settings file. Nothing is sent anywhere.
    """
    from inferno_cli import api_key

    api_key.show(api_key.create(name, out), output)
