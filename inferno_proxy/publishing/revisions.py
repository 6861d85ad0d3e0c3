"""Which life and revision of each node a snapshot is made from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from inferno_proxy.fleet import FleetView, changed


class Revisions:
    """Follows the fleet; of 10,000 nodes the few that changed are looked at. ``news`` counts those of the last time."""

    def __init__(self) -> None:
        self.news = 0
        self._view = FleetView()
        self._known: dict[str, tuple[int, int]] = {}

    def follow(self, view: FleetView) -> Mapping[str, tuple[int, int]]:
        """The ``(incarnation, revision)`` of each node, by node_id."""
        news, self._view = changed(self._view, view), view
        self.news = len(news)
        known = self._known.copy()
        for node_id in news:
            member = view.members.get(node_id)
            if member is None:
                del known[node_id]
            else:
                known[node_id] = member.node.incarnation, member.node.revision
        self._known = known
        return MappingProxyType(known)
