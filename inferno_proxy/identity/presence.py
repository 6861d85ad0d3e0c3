"""Whether a member is there now: nobody else may join under its name meanwhile."""

from __future__ import annotations

from inferno_proxy.registry.registry import Registry
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime.errors import AlreadyExists
from inferno_runtime.identity.names import MeshName, Role


class Presence:
    """Looks at the fleet for nodes, and at the data planes for proxies and clients."""

    def __init__(self, registry: Registry, clients: ClientTable) -> None:
        self._registry = registry
        self._clients = clients

    def refuse_taken(self, name: MeshName) -> None:
        """Raise when a live member has this name.

        Raises:
            AlreadyExists: NAME_IN_USE.
        """
        if self._there(name):
            raise AlreadyExists(
                f"A {name.role} with the name {name.name!r} is in the mesh now.",
                reason="NAME_IN_USE",
                fix="Choose another name, or end that one first.",
            )

    def _there(self, name: MeshName) -> bool:
        if name.role is not Role.NODE:
            return any(one.client_id.partition("/")[0] == name.name for one in self._clients.clients)
        # Without its agent a node may go on serving, and its agent, started again, may have to join again.
        return self._registry.is_held(name.name)
