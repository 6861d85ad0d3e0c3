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


def behind(view: FleetView, published: Mapping[str, tuple[int, int]]) -> Mapping[str, tuple[int, int]]:
    """The nodes of which something newer was published once than is known now, with what was published: those that are
    remembered as they were before, or all when nobody is. A node that misses in a known fleet has left it."""
    if not view.members:
        return published
    return {
        node_id: last for node_id, last in published.items() if node_id in view.members and _known(view, node_id) < last
    }


def caught_up(view: FleetView, lacking: Mapping[str, tuple[int, int]]) -> bool:
    """True when all these nodes have told of themselves again."""
    return all(node_id in view.members and _known(view, node_id) >= last for node_id, last in lacking.items())


def _known(view: FleetView, node_id: str) -> tuple[int, int]:
    node = view.members[node_id].node
    return node.incarnation, node.revision
