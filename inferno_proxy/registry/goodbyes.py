"""The last lives of nodes that said goodbye: what keeps a zombie of one of them out."""

from __future__ import annotations

from collections import OrderedDict

_KEPT = 10_000


class Goodbyes:
    """Incarnations by node_id, of the latest 10,000."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def add(self, node_id: str, incarnation: int) -> None:
        """A life ended by its own word."""
        self._last[node_id] = incarnation
        self._last.move_to_end(node_id)
        while len(self._last) > _KEPT:
            self._last.popitem(last=False)

    def last(self, node_id: str) -> int:
        """The incarnation that said goodbye last; 0 when none is known."""
        return self._last.get(node_id, 0)
