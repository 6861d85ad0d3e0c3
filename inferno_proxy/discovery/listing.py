"""Nodes that a list names: let in, followed, drained once the list no longer names them, and taken out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from inferno_proxy.discovery.names import resolve_node
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Address, Node, Source
from inferno_proxy.registry.conflicts import Conflicts, rule
from inferno_proxy.registry.registry import Registry
from inferno_runtime.clock import Clock
from inferno_runtime.errors import AlreadyExists, InfernoError
from inferno_runtime.latest import Latest

# Seconds between two looks at what could not be let in yet, or has been taken over, and how long a host name that was
# found is taken to stay where it is.
_AGAIN = 2.0
_FOUND_FOR = 30.0
# Seconds that a node has to finish what runs, once it is named no more.
DRAIN = 30.0
# Host names looked up at a time, and nodes let in before others get their turn.
_AT_ONCE = 64
_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class Named:
    """What a list says now: its nodes by node_id, and where each stands, for people (``FILE:LINE``)."""

    nodes: Mapping[str, Node]
    places: Mapping[str, str]


class Listing:
    """Keeps the registry in step with one list; ``source`` says which.

    ``named`` is the newest list that could be read; None before the first one, and nobody leaves until then.
    """

    def __init__(
        self, source: Source, named: Latest[Named | None], registry: Registry, clock: Clock, events: EventLog
    ) -> None:
        self._source = source
        self._named = named
        self._registry = registry
        self._clock = clock
        self._events = events
        self._conflicts = Conflicts(events)
        self._joined: dict[str, Node] = {}
        # By node_id: what was looked up, what was found, and until when that holds.
        self._found: dict[str, tuple[Node, Node, float]] = {}
        self._leaving: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._following = asyncio.Lock()

    async def run(self) -> None:
        """Follow the list until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_again(), name=f"{self._source.value}-again")
            async for named in self._named.watch():
                if named is not None:
                    await self.follow(named)

    async def _look_again(self) -> None:
        while True:
            await self._clock.sleep(_AGAIN)
            if self._named.value is not None:
                await self.follow(self._named.value)

    async def follow(self, named: Named) -> None:
        """Carry the list out as it is now, unless another one comes meanwhile."""
        async with self._following:
            found = await self._resolved(named)
            # Nodes at an address that another one of ours is to give up come with the last step: whoever looks at the
            # fleet sees that node or this one at the address, and never neither.
            given_up = self._given_up(named)
            last = []
            for at, node in enumerate(found):
                if at % _AT_A_TIME == _AT_A_TIME - 1:
                    # A long list leaves others their turn.
                    await asyncio.sleep(0)
                if named is not self._named.value:
                    return
                if node.grpc_address in given_up:
                    last.append(node)
                else:
                    self._let_in(node, named)
            self._let_go(named)
            for node in last:
                self._let_in(node, named)

    async def _resolved(self, named: Named) -> list[Node]:
        """The nodes whose host names are found, and those that have none."""
        now, gate = self._clock.monotonic(), asyncio.Semaphore(_AT_ONCE)
        unknown = [node for node in named.nodes.values() if not self._is_found(node, now)]
        await asyncio.gather(*(self._look_up(node, named, gate) for node in unknown))
        return [self._found[node_id][1] for node_id in named.nodes if node_id in self._found]

    def _is_found(self, node: Node, now: float) -> bool:
        asked, _, until = self._found.get(node.node_id, (None, node, 0.0))
        return now < until and (asked is node or asked == node)

    async def _look_up(self, node: Node, named: Named, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                found = await resolve_node(node)
            except InfernoError as error:
                self._refuse(node.node_id, named, error)
                return
        # What is an address already stays one.
        until = math.inf if found is node else self._clock.monotonic() + _FOUND_FOR
        self._found[node.node_id] = (node, found, until)

    def _ours(self) -> Mapping[str, Node]:
        members = self._registry.view.value.members
        return {node_id: member.node for node_id, member in members.items() if member.source is self._source}

    def _given_up(self, named: Named) -> set[Address]:
        ours = self._ours()
        return {ours[node_id].grpc_address for node_id in ours.keys() - named.nodes.keys()}

    def _let_in(self, node: Node, named: Named) -> None:
        node_id = node.node_id
        member = self._registry.view.value.members.get(node_id)
        ours = member is not None and member.source is self._source
        joined = self._joined.get(node_id)
        if ours and (joined is node or joined == node):
            self._conflicts.over(node_id)
            return
        try:
            self._registry.join(self._continued(node), self._source, attached=False)
        except AlreadyExists:
            self._conflict(node, named)
        except InfernoError as error:
            self._refuse(node_id, named, error)
        else:
            self._joined[node_id] = node
            self._refused.pop(node_id, None)
            self._conflicts.over(node_id)

    def _continued(self, node: Node) -> Node:
        """The node as its next change: what was read of it before still holds until the probe reads it again."""
        member = self._registry.view.value.members.get(node.node_id)
        incarnation = self._registry.next_incarnation(node.node_id, 1)
        if member is None or member.source is not self._source:
            return replace(node, incarnation=incarnation)
        before = member.node
        return replace(
            node,
            incarnation=before.incarnation,
            revision=before.revision + 1,
            models=node.models or before.models,
            server_version=before.server_version,
        )

    def _conflict(self, node: Node, named: Named) -> None:
        self._joined.pop(node.node_id, None)
        member = self._registry.view.value.members[node.node_id]
        where = named.places.get(node.node_id, self._source.value)
        self._conflicts.began(
            node.node_id,
            node.node_id,
            f"{where} names {node.node_id!r} at {node.grpc_address}, and it is known at {member.node.grpc_address} "
            f"({member.source.value}): {rule(member.source)}.",
        )

    def _refuse(self, node_id: str, named: Named, error: InfernoError) -> None:
        sentence = f"{named.places.get(node_id, self._source.value)}: {error.sentence()}"
        if self._refused.get(node_id) != sentence:
            self._refused[node_id] = sentence
            self._events.add("DISCOVERY_REFUSED", node_id, sentence)

    def _let_go(self, named: Named) -> None:
        """Drain what the list names no more, and take out what has had its time."""
        now = self._clock.monotonic()
        for kept in (self._refused, self._joined, self._found):
            for node_id in kept.keys() - named.nodes.keys():
                kept.pop(node_id)
        self._conflicts.keep(named.nodes)
        gone = self._ours().keys() - named.nodes.keys()
        self._leaving = {node_id: self._leaving.get(node_id, now) for node_id in gone}
        for node_id, since in self._leaving.items():
            why = f"The list that named it ({self._source.value}) does not name it any more."
            self._registry.withdraw(node_id, self._source, why, at_once=now - since >= DRAIN)
