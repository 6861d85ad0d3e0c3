"""The control plane's own errors, each one sentence with its fix."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from inferno_proxy.fleet import Node
from inferno_runtime.errors import Exhausted, Fenced, NotFound, Unavailable

_NAMES_SHOWN = 20
# Characters of a name that a caller sent, and the most names that it is compared with.
_NAME_SHOWN = 128
_MOST_COMPARED = 2000


def fenced_by(node: Node) -> Fenced:
    """What the stream of a node's former life ends with once ``node`` has taken over."""
    return Fenced(
        f"Another registration of node {node.node_id!r} (incarnation {node.incarnation}) took over.",
        reason="FENCED",
        fix="If this agent is the right one, stop the other and start this one again.",
        metadata={"node_id": node.node_id, "incarnation": str(node.incarnation)},
    )


def said_goodbye(node_id: str, incarnation: int) -> Fenced:
    """What a life that deregistered gets when it comes back."""
    return Fenced(
        f"Node {node_id!r} said goodbye in incarnation {incarnation}.",
        reason="FENCED",
        fix="Register with a greater incarnation.",
        metadata={"node_id": node_id},
    )


def lease_over(node_id: str) -> Fenced:
    """What a stream gets that speaks for a node which somebody else speaks for now, or nobody."""
    return Fenced(
        f"This registration of node {node_id!r} is over: a newer one took its place or it was taken out.",
        reason="FENCED",
        fix="Register again with a greater incarnation.",
        metadata={"node_id": node_id},
    )


def wrong_incarnation(node_id: str, given: int, registered: int) -> Fenced:
    """What a goodbye gets that names another life than the registered one."""
    return Fenced(
        f"Node {node_id!r} is registered with incarnation {registered}, not {given}.",
        reason="WRONG_INCARNATION",
        fix="Name the incarnation that registered; another life of the node has taken over.",
        metadata={"node_id": node_id, "incarnation": str(registered)},
    )


def taken_out(node_id: str, why: str) -> Fenced:
    """What the stream of a node ends with when the node leaves the mesh."""
    return Fenced(
        f"Node {node_id!r} was taken out. {why}",
        reason="FENCED",
        fix="Register again with a greater incarnation.",
        metadata={"node_id": node_id},
    )


def unknown_node(node_id: str, known: Collection[str]) -> NotFound:
    """The error for a node that is not in the mesh; it names those that are."""
    return NotFound(
        f"There is no node {node_id[:_NAME_SHOWN]!r}.",
        reason="UNKNOWN_NODE",
        fix=f"{_near(node_id, known)}Nodes: {_listed(known)}.",
        metadata={"node_id": node_id[:_NAME_SHOWN]},
    )


def unknown_model(name: str, known: Collection[str]) -> NotFound:
    """The error for a model that no node has; it names those that exist."""
    return NotFound(
        f"There is no model {name[:_NAME_SHOWN]!r}.",
        reason="UNKNOWN_MODEL",
        fix=f"{_near(name, known)}Models of the fleet: {_listed(known)}.",
        metadata={"model": name[:_NAME_SHOWN]},
    )


def table_full(nodes: int) -> Exhausted:
    """The error for one node too many."""
    return Exhausted(
        f"The mesh has {nodes} nodes, as many as it may have.",
        reason="TOO_MANY_NODES",
        fix="Raise the proxy's setting max_nodes.",
        retry_after=5,
    )


def stopping() -> Unavailable:
    """What every stream ends with when the control plane stops."""
    return Unavailable("The control plane stops.", reason="STOPPING", fix="Connect again.", retry_after=0.1)


def _near(name: str, known: Collection[str]) -> str:
    """The question whether another name was meant; nothing where none is alike, or there are too many to compare.

    >>> _near("gpu-l", ["gpu-1", "cpu"]), _near("x", ["gpu-1"])
    ("Did you mean 'gpu-1'? ", '')
    """
    near = difflib.get_close_matches(name[:_NAME_SHOWN], known, n=1) if len(known) <= _MOST_COMPARED else []
    return f"Did you mean {near[0]!r}? " if near else ""


def _listed(names: Iterable[str]) -> str:
    """Names for a sentence, in order and bounded.

    >>> _listed([]), _listed(["b", "a"])
    ('none', 'a, b')
    """
    ordered = sorted(names)
    more = f" and {len(ordered) - _NAMES_SHOWN} more" if len(ordered) > _NAMES_SHOWN else ""
    return (", ".join(ordered[:_NAMES_SHOWN]) or "none") + more
