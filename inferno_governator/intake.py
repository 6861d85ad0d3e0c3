"""The one writer of telemetry: batches of many streams wait in a bounded queue and are committed in groups.

A group is whatever has come in while the group before was committed, so an idle store answers at once and a busy one
pays for a commit once for many batches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from inferno_governator.metrics import Metrics
from inferno_governator.store.ingest import Stored
from inferno_governator.usage import Batch
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Broken, Exhausted, InfernoError

_LOG = logs.get("governator.intake")
# Samples in one transaction: about 0.1 s of work.
_GROUP = 30_000
# A batch without samples still takes a place.
_LEAST = 10
_RETRY_AFTER = 1.0
# Nodes are named from outside: what was said of them is forgotten before it fills the memory.
_MOST_TOLD = 10_000

Commit = Callable[[Sequence[Batch]], Awaitable[Sequence[Stored]]]


class Sender(Protocol):
    """Who handed a batch in and hears what became of it."""

    @property
    def broken(self) -> bool:
        """True once a batch of this sender was refused."""
        ...

    def committed(self, batch: Batch) -> None:
        """The batch is on disk, now or since before."""
        ...

    def refused(self, error: InfernoError) -> None:
        """The batch is not stored; what this sender handed in after it is discarded."""
        ...

    def discarded(self) -> None:
        """A batch handed in after one that was refused is not stored either."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    sender: Sender
    weight: int


class Intake:
    """A queue of at most ``capacity`` samples and the loop that empties it into ``commit``."""

    def __init__(self, commit: Commit, capacity: int, clock: Clock, metrics: Metrics) -> None:
        self._commit = commit
        self._capacity = capacity
        self._clock = clock
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self._weight = 0
        self._arrived = asyncio.Event()
        self._closed = False
        self._told: set[tuple[str, str]] = set()

    def submit(self, batch: Batch, sender: Sender) -> None:
        """Accept a batch; the sender hears of it later.

        Raises:
            Exhausted: The queue is full.
        """
        weight = max(_LEAST, batch.sample_count)
        if self._weight and self._weight + weight > self._capacity:
            self._metrics.batches.labels("refused").inc()
            raise Exhausted(
                f"The governator has {self._weight} samples waiting to be stored and takes no more now.",
                reason="TELEMETRY_FLOOD",
                fix="Keep the batches and reconnect after the delay given.",
                retry_after=_RETRY_AFTER,
            )
        self._queue.append(_Waiting(batch, sender, weight))
        self._add_weight(weight)
        self._arrived.set()

    def close(self) -> None:
        """Let :meth:`run` end once everything accepted is committed or refused. Safe to call again."""
        self._closed = True
        self._arrived.set()

    async def run(self) -> None:
        """Commit what arrives until the intake is closed and empty."""
        while True:
            while not self._queue:
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            await self._settle(self._take())

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        weight = 0
        while self._queue and weight < _GROUP:
            waiting = self._queue.popleft()
            weight += waiting.weight
            group.append(waiting)
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        whole = []
        for waiting in group:
            # What comes after a refused batch must not be stored before it: it would then count as a duplicate.
            if waiting.sender.broken:
                waiting.sender.discarded()
                self._add_weight(-waiting.weight)
            else:
                whole.append(waiting)
        if not whole:
            return
        try:
            await self._store(whole)
        except Broken as error:
            if len(whole) == 1:
                self._refuse(whole, error)
                return
            # One batch the database cannot take must not hold up everybody: find it by storing each alone.
            for waiting in whole:
                await self._settle([waiting])
        except InfernoError as error:
            self._refuse(whole, error)

    async def _store(self, group: list[_Waiting]) -> None:
        began = self._clock.monotonic()
        stored = await self._commit([waiting.batch for waiting in group])
        metrics = self._metrics
        metrics.commit_seconds.observe(self._clock.monotonic() - began)
        for waiting, each in zip(group, stored, strict=True):
            metrics.batches.labels("stored" if each.new else "duplicate").inc()
            metrics.samples.inc(waiting.batch.sample_count if each.new else 0)
            if each.new and waiting.batch.refused:
                self._tell_refused(waiting.batch)
            metrics.missing_batches.inc(each.missing_batches)
            metrics.dropped_samples.inc(each.dropped_samples)
            waiting.sender.committed(waiting.batch)
            self._add_weight(-waiting.weight)

    def _tell_refused(self, batch: Batch) -> None:
        """One line for each reason on a node and no more: what measures wrongly does so every second."""
        for reason, count in batch.refused.items():
            self._metrics.refused_samples.labels(reason).inc(count)
            about = (batch.stream.node_id, reason)
            if about not in self._told:
                self._told.add(about)
                _LOG.warning(
                    "impossible samples left out; this is said once",
                    node=batch.stream.node_id,
                    batch=batch.sequence,
                    reason=reason,
                    samples=count,
                    first=batch.refusal,
                )
        if len(self._told) > _MOST_TOLD:
            self._told.clear()

    def _refuse(self, group: list[_Waiting], error: InfernoError) -> None:
        _LOG.warning("telemetry not stored", batches=len(group), reason=error.reason, error=str(error))
        for waiting in group:
            self._metrics.batches.labels("refused").inc()
            waiting.sender.refused(error)
            self._add_weight(-waiting.weight)

    def _add_weight(self, weight: int) -> None:
        self._weight += weight
        self._metrics.queued_samples.set(self._weight)
