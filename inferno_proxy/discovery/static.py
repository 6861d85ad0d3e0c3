"""Nodes that the proxy's own settings name (``--backends``)."""

from __future__ import annotations

from collections.abc import Iterable

from inferno_proxy.discovery.listing import Named
from inferno_proxy.fleet import Address, Node
from inferno_proxy.settings import split_backend


def static_nodes(backends: Iterable[str]) -> Named:
    """The nodes that settings name."""
    nodes = {node.node_id: node for node in map(_node, backends)}
    return Named(nodes, dict.fromkeys(nodes, "proxy.backends"))


def _node(backend: str) -> Node:
    """The node that ``HOST:GRPC_PORT[:HTTP_PORT]`` names; its name follows from its address.

    >>> _node("10.0.0.7:8001").node_id
    '10.0.0.7_8001'
    """
    host, port, http = split_backend(backend)
    return Node(
        node_id=f"{host.replace(':', '-')}_{port}",
        incarnation=1,
        grpc_address=Address(host, port),
        http_address=Address(host, http) if http else None,
    )
