"""Which node stands at an address, so that a report can only speak of endpoints that the fleet has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inferno_proxy.fleet import Address, FleetView


@dataclass(frozen=True, slots=True)
class Places:
    """The fleet by address: who is there and which models it names. Built by :func:`places`."""

    at: Mapping[Address, tuple[str, frozenset[str]]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def models(self) -> frozenset[str]:
        """Every model that any member names."""
        return frozenset[str]().union(*(models for _, models in self.at.values()))

    def node(self, model: str, address: Address) -> str | None:
        """The id of the node that has this model at this address, None when there is none."""
        found = self.at.get(address)
        return found[0] if found is not None and model in found[1] else None


def places(view: FleetView) -> Places:
    """Every member's gRPC and REST address, whatever its phase: a failed node's last calls are reported too.

    Of two members that claim one address, the one that takes work counts.
    """
    at: dict[Address, tuple[str, frozenset[str]]] = {}
    for member in sorted(view.members.values(), key=lambda member: member.takes_work):
        node = member.node
        entry = (node.node_id, frozenset(model.name for model in node.models))
        at[node.grpc_address] = entry
        if node.http_address is not None:
            at[node.http_address] = entry
    return Places(MappingProxyType(at))
