"""The way back: what every data plane runs becomes what each node's agent may rely on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.registry.registry import Registry
from inferno_runtime.latest import Latest

Revisions = Mapping[str, tuple[int, int]]


class Acknowledgements:
    """Which revisions each published snapshot carried, until it is applied."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Revisions]] = deque()
        self._told: Revisions = {}

    def published(self, serial: int, revisions: Revisions) -> None:
        """Remember a snapshot; serials grow."""
        self._waiting.append((serial, revisions))

    def applied(self, serial: int) -> Revisions:
        """What is news in the newest snapshot up to ``serial``. A node whose revision is the same object as in the one
        before has had it applied: of a large fleet, that is nearly all."""
        newest: Revisions | None = None
        while self._waiting and self._waiting[0][0] <= serial:
            newest = self._waiting.popleft()[1]
        if newest is None:
            return {}
        before, self._told = self._told, newest
        return {node_id: each for node_id, each in newest.items() if before.get(node_id) is not each}


async def carry_back(snapshots: Latest[Mapping[Dialect, Snapshot]], applied: Latest[int], registry: Registry) -> None:
    """Tell the registry what is applied; runs until cancelled."""
    acknowledgements = Acknowledgements()

    def tell() -> None:
        registry.applied(acknowledgements.applied(applied.value))

    async def follow_published() -> None:
        async for newest in snapshots.watch():
            if newest:
                # Every dialect's snapshot of one publication has the same serial and revisions.
                one = next(iter(newest.values()))
                acknowledgements.published(one.serial, one.revisions)
                tell()

    async def follow_applied() -> None:
        async for _ in applied.watch():
            tell()

    async with asyncio.TaskGroup() as group:
        group.create_task(follow_published(), name="acknowledgement-published")
        group.create_task(follow_applied(), name="acknowledgement-applied")
