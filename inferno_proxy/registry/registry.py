"""The table of nodes and their leases, and the fleet that follows from it.

Nodes join, renew, change and leave through a :class:`Lease`; operators drain; a probe observes nodes that no agent
speaks for. Everything here is synchronous and belongs to one event loop; :meth:`Registry.run` only lets time pass.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from inferno_proxy import errors
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import FleetView, Load, Member, Model, ModelLoad, Node, Phase, Source
from inferno_proxy.registry import admission, membership, succession
from inferno_proxy.registry.goodbyes import Goodbyes
from inferno_proxy.registry.lease import Lease, Outlook, Terms
from inferno_proxy.registry.membership import Record
from inferno_proxy.registry.slot import Slot
from inferno_proxy.registry.table import Table
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.latest import Latest

_TICK = 0.25
# A node that nobody vouches for and that does not answer is kept this long, so that its models stay known.
_DEAD_HOLD = 30.0


class Drain(NamedTuple):
    """A drain by order; ``ends`` is in Unix seconds, None for none of its own."""

    drained: bool
    ends: float | None


class Registry:
    """The table. ``view`` is the fleet; its members carry the load of their last change, :meth:`load` the newest."""

    def __init__(self, terms: Terms, clock: Clock, events: EventLog) -> None:
        self._terms = terms
        self._clock = clock
        self._events = events
        self._table = Table(clock, events)
        self._slots = self._table.slots
        self.view: Latest[FleetView] = self._table.view
        self._due: list[tuple[float, str]] = []
        # When drains end that an operator gave an end, in Unix seconds.
        self._drains: dict[str, float] = {}
        self._lives = 0
        self._claims = 0
        self._gone = Goodbyes()

    # ------------------------------------------------------------------------------------------------ nodes speak

    def join(
        self, node: Node, source: Source = Source.AGENT, duration: float | None = None, *, attached: bool = True
    ) -> Lease:
        """Let a node in, or let its newer life take over.

        Args:
            node: Already resolved: its addresses are IP addresses.
            source: How it was discovered.
            duration: Seconds the lease holds without a word; None: the usual.
            attached: A stream will carry the lease until :meth:`Lease.detach`.

        Raises:
            InvalidInput: The node is malformed; the field is named.
            AlreadyExists: A live agent holds the name, and this is not a newer life of it.
            Fenced: A newer life of the node is known, or this one said goodbye.
            Exhausted: The table is full.
        """
        admission.check(node, self._terms.limits)
        now = self._clock.monotonic()
        former = self._slots.get(node.node_id)
        takeovers: tuple[float, ...] = ()
        if former is None:
            self._admit_new(node)
        else:
            try:
                takeovers = succession.succeed(former.record, node, source, now)
            except succession.TwoMachines as error:
                self._events.add("NODE_CONFLICT", node.node_id, error.message)
                raise
        self._lives += 1
        self._claims += 1
        before = former.record if former else None
        record = membership.enter(
            before, node, source, life=self._lives, claim=self._claims, attached=attached, takeovers=takeovers
        )
        duration = duration or self._terms.agents_lease(len(self._slots))
        lease = Lease(self, node.node_id, self._lives, duration)
        same = before is not None and membership.same_life(before, node)
        if former is not None:
            if same:
                lease.outlook.set(replace(former.lease.outlook.value, duration=duration, ended=None))
            former.lease.outlook.set(Outlook(ended=errors.fenced_by(node)))
        member = former.member if former else Member(node, Phase.SERVING, source, self._clock.wall())
        slot = Slot(record, member, lease, duration, now + duration, former.load if former else None)
        self._schedule(slot)
        if former is None:
            self._events.add("NODE_JOINED", node.node_id, f"It came to {node.grpc_address} ({source.value}).")
        elif not same:
            why = f"A newer life (incarnation {node.incarnation}) took over."
            self._events.add("NODE_RESTARTED", node.node_id, why)
        self._table.put(slot)
        return lease

    def deregister(self, node_id: str, incarnation: int) -> None:
        """Take a node out at its own word.

        Raises:
            NotFound: No such node.
            Fenced: The incarnation is not the registered one.
        """
        slot = self._table.at(node_id)
        registered = slot.record.node.incarnation
        if incarnation != registered:
            raise errors.wrong_incarnation(node_id, incarnation, registered)
        self._gone.add(node_id, incarnation)
        self._remove(slot, "NODE_LEFT", "It said goodbye.")

    # --------------------------------------------------------------------------------------------- others speak

    def withdraw(self, node_id: str, source: Source, why: str, *, at_once: bool = False) -> None:
        """A list no longer names a node: it gets no new work, or is taken out ``at_once``. Ignored when the node came
        from elsewhere."""
        slot = self._slots.get(node_id)
        if slot is None or slot.record.source is not source:
            return
        if at_once:
            self._remove(slot, "NODE_LEFT", why)
        elif slot.record.withdrawn != why:
            self._table.replace(slot, replace(slot.record, withdrawn=why))

    def drain(self, node_id: str, *, drained: bool = True, ends: float | None = None) -> Member:
        """Stop new work to a node, or let it take work again; return it after the change. A drain ``ends`` by itself at
        a moment (Unix seconds), or never.

        Raises:
            NotFound: No such node.
        """
        slot = self._table.at(node_id)
        changes = slot.record.drained != drained
        if changes or slot.record.drain_ends != ends:
            self._table.replace(slot, membership.drain(slot.record, drained=drained, ends=ends))
            self._note_drain(node_id, ends)
        if changes:
            kind, what = ("NODE_DRAINED", "drained it") if drained else ("NODE_UNDRAINED", "let it take work again")
            self._events.add(kind, node_id, f"An operator {what}.")
        return self.member(node_id)

    def drain_of(self, node_id: str) -> Drain:
        """Whether a node is drained by order, and until when.

        Raises:
            NotFound: No such node.
        """
        record = self._table.at(node_id).record
        return Drain(record.drained, record.drain_ends)

    def _note_drain(self, node_id: str, ends: float | None) -> None:
        self._drains.pop(node_id, None)
        if ends is not None:
            self._drains[node_id] = ends

    def _end_drains(self) -> None:
        now = self._clock.wall()
        for node_id in [name for name, ends in self._drains.items() if ends <= now]:
            del self._drains[node_id]
            slot = self._slots.get(node_id)
            if slot is not None and slot.record.drain_ends is not None:
                self._table.replace(slot, membership.drain(slot.record, drained=False))
                self._events.add("NODE_UNDRAINED", node_id, "The time for which an operator drained it is over.")

    def want_model(self, model: str, *, loaded: bool) -> Mapping[str, int]:
        """Wish a model loaded on every node with a live agent, or unloaded where it is; the generation by node_id."""
        asked: dict[str, int] = {}
        for node_id, slot in self._slots.items():
            record = slot.record
            has = any(one.name == model for one in record.node.models)
            if record.source is Source.AGENT and record.live and (loaded or has):
                slot.record = membership.want(record, model, loaded=loaded)
                asked[node_id] = slot.record.wanted[model].generation
                self._table.tell(slot)
        return asked

    def observe(self, node_id: str, incarnation: int, models: tuple[Model, ...], server_version: str = "") -> None:
        """A probe read a node's models. Ignored when that life is gone or an agent speaks for it."""
        slot = self._probed(node_id, incarnation)
        if slot is None:
            return
        seen = membership.observe(slot.record, models, server_version)
        if seen is not slot.record:
            try:
                admission.check(seen.node, self._terms.limits)
            except InvalidInput as error:
                seen = membership.miss(slot.record, f"What its model server says cannot be used: {error}")
        self._table.replace(slot, seen)

    def miss(self, node_id: str, incarnation: int, evidence: str) -> None:
        """A probe got no answer. Ignored when that life is gone or an agent speaks for it."""
        slot = self._probed(node_id, incarnation)
        if slot is None:
            return
        if not slot.record.live:
            slot.due = min(slot.due, self._clock.monotonic() + _DEAD_HOLD)
            self._schedule(slot)
        self._table.replace(slot, membership.miss(slot.record, evidence))

    def applied(self, revisions: Mapping[str, tuple[int, int]]) -> None:
        """Every data plane runs a fleet with these ``(incarnation, revision)`` of its nodes."""
        for node_id, (incarnation, revision) in revisions.items():
            slot = self._slots.get(node_id)
            if slot is None or slot.record.node.incarnation != incarnation:
                continue
            outlook = slot.lease.outlook.value
            if revision > outlook.applied_revision:
                slot.lease.outlook.set(replace(outlook, applied_revision=revision))

    def restore(self, record: Record, duration: float) -> None:
        """Put back a node of an earlier life of this control plane; ignored when it has registered again.

        An announced node gets its whole lease again; any other one waits for its agent as unmanaged.
        """
        if record.node.node_id in self._slots:
            return
        self._lives += 1
        self._claims += 1
        now = self._clock.monotonic()
        if record.source is Source.AGENT:
            record = membership.lose(record, "It has not been heard from since the control plane started.")
        record = replace(record, life=self._lives, claim=self._claims, attached=False)
        due = now + (duration if record.live else self._terms.forget_after)
        member = Member(record.node, Phase.SERVING, record.source, self._clock.wall())
        slot = Slot(record, member, Lease(self, record.node.node_id, self._lives, duration), duration, due)
        self._note_drain(record.node.node_id, record.drain_ends)
        self._schedule(slot)
        self._table.put(slot)

    def close(self) -> None:
        """End every stream: this control plane stops, and the nodes serve on."""
        for slot in self._slots.values():
            ended = errors.stopping()
            slot.lease.outlook.set(replace(slot.lease.outlook.value, ended=ended))

    # ------------------------------------------------------------------------------------------------ questions

    def member(self, node_id: str) -> Member:
        """A node with its newest load.

        Raises:
            NotFound: No such node.
        """
        slot = self._table.at(node_id)
        return replace(slot.member, load=slot.load)

    def members(self) -> tuple[Member, ...]:
        """All nodes with their newest load, by node_id."""
        return tuple(self.member(node_id) for node_id in sorted(self._slots))

    def is_held(self, node_id: str) -> bool:
        """True while a lease holds the name: somebody speaks for the node, whether it serves or not."""
        return node_id in self._slots and self._slots[node_id].record.live

    def loads(self) -> Mapping[str, Load]:
        """Each node's newest report of its load, by node_id; nodes that never reported are missing."""
        return {node_id: slot.load for node_id, slot in self._slots.items() if slot.load is not None}

    def unattended(self) -> tuple[tuple[Node, Source], ...]:
        """The nodes that no agent speaks for now: a probe is to look after them."""
        records = (slot.record for slot in self._slots.values())
        return tuple((r.node, r.source) for r in records if r.source is not Source.AGENT or not r.live)

    def next_incarnation(self, node_id: str, now: int) -> int:
        """A number for a new life that begins ``now``: greater than that of one that said goodbye."""
        return max(now, self._gone.last(node_id) + 1)

    def applied_revision(self, node_id: str) -> int:
        """The greatest revision of a node that every data plane has applied; 0 before the first."""
        return self._table.at(node_id).lease.outlook.value.applied_revision

    def records(self) -> tuple[tuple[Record, float], ...]:
        """The facts about each node with its lease's duration."""
        return tuple((slot.record, slot.duration) for slot in self._slots.values())

    def take_news(self) -> Mapping[str, tuple[Record, float] | None]:
        """The nodes of which something is new since this was asked last, as :meth:`records` has them; None for one that
        is gone. For one asker, who keeps them on disk."""
        found = {node_id: self._slots.get(node_id) for node_id in self._table.take_news()}
        return {node_id: (slot.record, slot.duration) if slot else None for node_id, slot in found.items()}

    # ----------------------------------------------------------------------------------------------------- time

    async def run(self) -> None:
        """Let leases end; runs until cancelled."""
        while True:
            await self._clock.sleep(_TICK)
            self.expire()

    def expire(self) -> None:
        """End what is due now."""
        self._end_drains()
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            _, node_id = heapq.heappop(self._due)
            slot = self._slots.get(node_id)
            if slot is None:
                continue
            if slot.due > now:
                self._schedule(slot)
            elif slot.record.live and not slot.record.source.lists:
                self._lapse(slot, now)
            elif not slot.record.live:
                self._remove(slot, "NODE_FORGOTTEN", "Nobody vouched for it any more.")

    def _lapse(self, slot: Slot, now: float) -> None:
        who = "its agent" if slot.record.source is Source.AGENT else "whoever announced it"
        reason = f"Nothing was heard from {who} for {slot.duration:g} s; it serves while its health check passes."
        slot.due = now + self._terms.forget_after
        self._schedule(slot)
        self._events.add("LEASE_EXPIRED", slot.record.node.node_id, reason)
        self._table.replace(slot, membership.lose(slot.record, reason))

    def _schedule(self, slot: Slot) -> None:
        heapq.heappush(self._due, (slot.due, slot.record.node.node_id))

    # --------------------------------------------------------------------------------------------------- leases

    def renew(self, node_id: str, life: int, loads: tuple[ModelLoad, ...] | None) -> None:
        slot = self._held(node_id, life)
        now = self._clock.monotonic()
        if loads is not None:
            slot.load = Load(loads, now)
        if slot.record.source is Source.AGENT:
            slot.duration = slot.lease.fit(self._terms.agents_lease(len(self._slots)))
        slot.due = now + slot.duration
        if not slot.record.live:
            self._schedule(slot)
            self._table.replace(slot, membership.renew(slot.record))
            self._events.add("NODE_RETURNED", node_id, "Its agent is heard from again.")

    def update(self, node_id: str, life: int, node: Node) -> None:
        slot = self._held(node_id, life)
        held = slot.record.node
        if (node.node_id, node.incarnation) != (held.node_id, held.incarnation):
            raise admission.refusal(
                "incarnation",
                f"this stream speaks for {held.node_id!r} in incarnation {held.incarnation}",
                "Open another stream for another node or life.",
            )
        admission.check(node, self._terms.limits)
        self.renew(node_id, life, None)
        if node.revision > slot.record.node.revision:
            self._claims += 1
            self._table.replace(slot, membership.change(slot.record, node, self._claims))

    def detach(self, node_id: str, life: int) -> None:
        slot = self._slots.get(node_id)
        if slot is not None and slot.record.life == life:
            slot.record = replace(slot.record, attached=False)

    def _held(self, node_id: str, life: int) -> Slot:
        slot = self._slots.get(node_id)
        if slot is None or slot.record.life != life:
            raise errors.lease_over(node_id)
        return slot

    def _admit_new(self, node: Node) -> None:
        if node.incarnation <= (gone := self._gone.last(node.node_id)):
            raise errors.said_goodbye(node.node_id, gone)
        if len(self._slots) >= self._terms.limits.nodes:
            raise errors.table_full(len(self._slots))

    def _probed(self, node_id: str, incarnation: int) -> Slot | None:
        slot = self._slots.get(node_id)
        if slot is None or slot.record.node.incarnation != incarnation:
            return None
        return None if slot.record.source is Source.AGENT and slot.record.live else slot

    def _remove(self, slot: Slot, kind: str, why: str) -> None:
        node_id = slot.record.node.node_id
        self._events.add(kind, node_id, why)
        slot.lease.outlook.set(Outlook(ended=errors.taken_out(node_id, why)))
        self._table.remove(slot)
