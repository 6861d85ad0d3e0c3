"""A lease: the right to speak for a node, and what its holder is told in return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from inferno_proxy.fleet import ModelLoad, Node
from inferno_proxy.registry.admission import Limits
from inferno_proxy.registry.membership import Wanted
from inferno_runtime.errors import InfernoError
from inferno_runtime.latest import Latest

_NO_ONE: Mapping[str, Wanted] = MappingProxyType({})


class Holder(Protocol):
    """What a lease needs of the table it belongs to; ``life`` is the lease's number."""

    def renew(self, node_id: str, life: int, loads: tuple[ModelLoad, ...] | None) -> None:
        """The node was heard from."""
        ...

    def update(self, node_id: str, life: int, node: Node) -> None:
        """The node told of itself anew."""
        ...

    def detach(self, node_id: str, life: int) -> None:
        """The lease's stream ended."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a silent node counts: ``lease`` seconds as live, then ``forget_after`` seconds as unmanaged.

    Agents speak three times in a lease. ``heartbeats`` a second are the most one control plane is to hear, with a tenth
    of a core: leases of a fleet that would send more are longer.
    """

    lease: float = 3.0
    forget_after: float = 600.0
    limits: Limits = field(default_factory=Limits)
    heartbeats: float = 1000.0

    def agents_lease(self, nodes: int) -> float:
        """Seconds that the lease of an agent holds in a fleet of so many nodes."""
        return max(self.lease, 3 * nodes / self.heartbeats)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a node's agent is told: how long its word holds, how far it has been carried out, what the mesh wants of it.

    ``duration`` is the lease's, in seconds. ``applied_revision`` is 0 until every data plane has applied the first one.
    ``ended`` is why the lease is over.
    """

    duration: float = 0.0
    applied_revision: int = 0
    drain: bool = False
    wanted: Mapping[str, Wanted] = field(default_factory=lambda: _NO_ONE)
    ended: InfernoError | None = None


class Lease:
    """The right to speak for a node. Every call fails with :class:`Fenced` once another life has taken over."""

    def __init__(self, holder: Holder, node_id: str, life: int, duration: float) -> None:
        self.node_id = node_id
        self.outlook: Latest[Outlook] = Latest(Outlook(duration))
        self._holder = holder
        self._life = life

    def fit(self, duration: float) -> float:
        """Let the lease follow what the fleet's size asks for, in steps, since each is a message; what it is then."""
        held = self.outlook.value.duration
        if 2 / 3 <= held / duration <= 3 / 2:
            return held
        self.outlook.set(replace(self.outlook.value, duration=duration))
        return duration

    def renew(self, loads: tuple[ModelLoad, ...] | None = None) -> None:
        """Say that the node lives, with its load when there are fresh numbers."""
        self._holder.renew(self.node_id, self._life, loads)

    def update(self, node: Node) -> None:
        """Tell of the node anew. A revision that is not greater than the last one is ignored; the lease is renewed.

        Raises:
            InvalidInput: The node is malformed, or names another node or incarnation than this lease.
        """
        self._holder.update(self.node_id, self._life, node)

    def detach(self) -> None:
        """The stream that carried the lease ended: no goodbye, the lease runs on. Twice is the same as once."""
        self._holder.detach(self.node_id, self._life)
