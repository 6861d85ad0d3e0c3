"""``inferno drain`` and ``inferno undrain``: take a node out of work, and back."""

from __future__ import annotations

from typing import Any

import rich_click as click

from inferno_cli import output
from inferno_cli.asking import Asked, asking, ordering


@click.command("drain")
@click.argument("node")
@ordering
def drain(asked: Asked, node: str) -> None:
    """Stop new work to NODE and let what runs finish.

    Its agent is told. Draining a drained node changes nothing but how long that holds.
    """
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    request = wire.DrainNodeRequest(node_id=node, reason=asked.reason, lifetime=operating.lifetime(asked.holds))
    _show(asked, asked.ask(lambda stub: stub.DrainNode(request)))


@click.command("undrain")
@click.argument("node")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")
@asking
def undrain(asked: Asked, node: str, reason: str) -> None:
    """Let a drained NODE take work again."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire

    request = wire.UndrainNodeRequest(node_id=node, reason=reason)
    _show(asked, asked.ask(lambda stub: stub.UndrainNode(request)))


def _show(asked: Asked, answer: Any) -> None:
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    view = answer.node
    word = wire.NodePhase.Name(view.phase).removeprefix("NODE_PHASE_").lower()
    said = f": {view.reason}" if view.reason else "."
    operating.show(answer, asked.form, lambda: output.print_line(f"{view.node.node_id} is {word}{said}"))
