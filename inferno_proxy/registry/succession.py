"""Who may speak for a node: a newer life takes over at once, an older one is fenced, two machines are found out."""

from __future__ import annotations

from typing import Any

from inferno_proxy.fleet import Node, Source
from inferno_proxy.registry.membership import Record
from inferno_runtime.errors import AlreadyExists, Fenced

# Two machines with one node_id take it from each other again and again; one takeover is a restart.
_CONFLICT_WINDOW = 300.0
_CONFLICT_AFTER = 2


class TwoMachines(AlreadyExists):
    """Two machines use one node_id: an event for the operator, besides the refusal."""


def succeed(held: Record, node: Node, source: Source, now: float) -> tuple[float, ...]:
    """Decide whether ``node`` may take the place of the known one with its name; return the takeovers to remember.

    ``now`` is in monotonic seconds.

    Raises:
        AlreadyExists: A live agent holds the name, and this is not a newer life of it; or another source names it.
        TwoMachines: Likewise, and both have taken the name from each other.
        Fenced: A newer life of the node is known.
    """
    node_id = node.node_id
    elsewhere = node.grpc_address != held.node.grpc_address
    agent_holds = held.source is Source.AGENT and held.live
    if agent_holds and source is not Source.AGENT:
        raise AlreadyExists(f"An agent at {held.node.grpc_address} holds the name {node_id!r}.", **_hint(node_id))
    if held.source is not Source.AGENT and source is Source.AGENT:
        return ()
    if held.source is not Source.AGENT and held.source is not source and held.live and not held.withdrawn:
        raise AlreadyExists(
            f"The name {node_id!r} stands for {held.node.grpc_address} already ({held.source.value}).", **_hint(node_id)
        )
    if node.incarnation < held.node.incarnation:
        raise Fenced(
            f"Node {node_id!r} is known with the newer incarnation {held.node.incarnation}; "
            f"{node.incarnation} is an older life.",
            reason="FENCED",
            fix="Start the agent again, so that it has a newer incarnation.",
            metadata={"node_id": node_id, "incarnation": str(held.node.incarnation)},
        )
    recent = tuple(at for at in held.takeovers if now - at < _CONFLICT_WINDOW)
    if not (agent_holds and held.attached and elsewhere):
        return recent
    if node.incarnation == held.node.incarnation:
        raise AlreadyExists(
            f"A connected agent at {held.node.grpc_address} holds the name {node_id!r} in this incarnation.",
            **_hint(node_id),
        )
    if len(recent) + 1 >= _CONFLICT_AFTER:
        raise TwoMachines(
            f"Two machines use the name {node_id!r}: {held.node.grpc_address}, which is connected, and "
            f"{node.grpc_address}. They have taken it from each other in the last {_CONFLICT_WINDOW / 60:g} minutes.",
            **_hint(node_id),
        )
    return (*recent, now)


def _hint(node_id: str) -> dict[str, Any]:
    return {
        "reason": "NODE_ID_IN_USE",
        "fix": "Give each node a name of its own (the agent's setting node_id).",
        "metadata": {"node_id": node_id},
    }
