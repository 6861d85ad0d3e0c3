"""Which nodes claim which address."""

from __future__ import annotations

from collections.abc import Iterable

from inferno_proxy.fleet import Address


class Claims:
    """An index from address to node_ids."""

    def __init__(self) -> None:
        self._at: dict[Address, set[str]] = {}

    def add(self, node_id: str, addresses: Iterable[Address]) -> set[str]:
        """A node claims addresses; the others that claim one of them."""
        others: set[str] = set()
        for address in addresses:
            sharing = self._at.setdefault(address, set())
            others |= sharing
            sharing.add(node_id)
        return others - {node_id}

    def drop(self, node_id: str, addresses: Iterable[Address]) -> set[str]:
        """A node gives addresses up; the others that claim one of them."""
        others: set[str] = set()
        for address in set(addresses):
            sharing = self._at[address]
            sharing.discard(node_id)
            others |= sharing
            if not sharing:
                del self._at[address]
        return others

    def by(self, addresses: Iterable[Address]) -> set[str]:
        """The nodes that claim one of these addresses."""
        return {node_id for address in addresses for node_id in self._at.get(address, ())}
