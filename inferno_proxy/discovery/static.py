"""Nodes that the proxy's own settings name (``--backends``)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from inferno_proxy.discovery.names import resolve_node
from inferno_proxy.fleet import Address, Node, Source
from inferno_proxy.registry.registry import Registry
from inferno_proxy.settings import split_backend
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

_LOG = logs.get("discovery")
_LOOK_UP_EVERY = 30.0
_LOOK_UP_AGAIN = 2.0


def static_node(backend: str) -> Node:
    """The node that ``HOST:GRPC_PORT[:HTTP_PORT]`` names; its name follows from its address.

    >>> static_node("10.0.0.7:8001").node_id
    '10.0.0.7_8001'
    """
    host, port, http = split_backend(backend)
    return Node(
        node_id=f"{host.replace(':', '-')}_{port}",
        incarnation=1,
        grpc_address=Address(host, port),
        http_address=Address(host, http) if http else None,
    )


class StaticDiscovery:
    """Lets the named nodes in, and follows those whose name moves to another address."""

    def __init__(self, backends: Iterable[str], registry: Registry, clock: Clock) -> None:
        self._nodes = tuple(static_node(backend) for backend in backends)
        self._registry = registry
        self._clock = clock

    async def run(self) -> None:
        """Look names up now and again; runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for node in self._nodes:
                group.create_task(self._follow(node), name=f"static-{node.node_id}")

    async def _follow(self, node: Node) -> None:
        joined: Node | None = None
        while True:
            wait = _LOOK_UP_EVERY
            try:
                resolved = await resolve_node(node)
                if resolved != joined:
                    self._registry.join(self._continued(resolved), Source.STATIC, attached=False)
                    joined = resolved
            except InfernoError as error:
                _LOG.warning("backend not let in", backend=str(node.grpc_address), reason=error.sentence())
                wait = _LOOK_UP_AGAIN
            if joined is node:
                # An address needs no second look.
                return
            await self._clock.sleep(wait)

    def _continued(self, node: Node) -> Node:
        """The node as its next change: what was read of it before still holds until the probe reads it again."""
        known = self._registry.view.value.members.get(node.node_id)
        if known is None:
            return node
        before = known.node
        return replace(node, revision=before.revision + 1, models=before.models, server_version=before.server_version)
