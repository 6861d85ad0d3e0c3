"""``inferno status``: is the mesh serving, from where, what is wrong, and what does an hour of it cost."""

from __future__ import annotations

import rich_click as click

from inferno_cli import endpoint as mesh
from inferno_cli import output


@click.command("status")
@mesh.endpoint_option
@mesh.timeout_option(10.0)
@output.output_option
def command(endpoint: mesh.Endpoint, timeout: float, output: output.Format) -> None:
    """Show whether the mesh serves, from where, and what is wrong.

    Asks the mesh through its public port. Exit code 0 when it answers, 4 when it cannot be reached.
    """
    from inferno_cli import mesh_state

    state = mesh.within(timeout, lambda: mesh_state.ask(endpoint, timeout), f"Asking the mesh at {endpoint}")
    mesh_state.show(state, output)
