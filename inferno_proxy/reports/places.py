"""Which node stands at an address, so that a report can only speak of endpoints that the fleet has."""

from __future__ import annotations

from inferno_proxy.fleet import Address, FleetView, changed
from inferno_proxy.registry.claims import Claims


class Places:
    """A fleet by address, followed from one view to the next: a change costs a look at the nodes that changed.

    Every member's gRPC and REST address counts, whatever its phase: a failed node's last calls are reported too.
    """

    def __init__(self) -> None:
        self._view = FleetView()
        self._claims = Claims()

    def follow(self, view: FleetView) -> Places:
        """Speak of this fleet from now on."""
        before, news, self._view = self._view.members, changed(self._view, view), view
        for node_id in news:
            if node_id in before:
                self._claims.drop(node_id, before[node_id].node.addresses)
            if node_id in view.members:
                self._claims.add(node_id, view.members[node_id].node.addresses)
        return self

    def node(self, model: str, address: Address) -> str | None:
        """The id of the node that has this model at this address, None when there is none. Of members that claim one
        address, one that takes work counts."""
        members = self._view.members
        found = max(
            self._claims.by((address,)), key=lambda node_id: (members[node_id].takes_work, node_id), default=None
        )
        named = found is not None and any(each.name == model for each in members[found].node.models)
        return found if named else None
