"""``inferno check``: the traps of this machine and of a running mesh."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output

_FOUND_ERRORS = 3


@click.command("check")
@click.argument("categories", nargs=-1, type=click.Choice(["python", "host", "data", "proxy", "node", "mesh"]))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Data folder to check (default: inferno in the XDG data folder).",
)
@mesh.endpoint_option
@mesh.timeout_option(5.0)
@output.output_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    categories: tuple[str, ...],
    data_dir: Path | None,
    endpoint: mesh.Endpoint,
    timeout: float,
    output: output.Format,
) -> None:
    """Check this machine and a running mesh for known traps.

    Each check has a code, what was found, and the fix. Checks of the mesh are skipped when none answers at the
    endpoint. Exit code 3 when a check failed, otherwise 0.
    """
    from inferno_cli.checks import look
    from inferno_cli.checks.finding import Status

    results = look.look(endpoint, data_dir, categories, timeout)
    look.show(results, output)
    ctx.exit(_FOUND_ERRORS if any(each.status is Status.FAIL for each in results) else 0)
