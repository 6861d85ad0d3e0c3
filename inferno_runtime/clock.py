"""Time, injected: leases, time-outs and back-off use a monotonic clock that a test can hold in its hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """What the project asks of time."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back, whatever happens to the wall clock."""
        ...

    def wall(self) -> float:
        """Unix time in seconds, for people and records only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix time in seconds."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)


class ForwardTime:
    """Unix time that never goes back, for what must not become good again: a wall clock that is set ahead is followed
    at once, one that is set back is not, and time goes on from where it was. What was before an object, it does not
    know."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at, self._latest = clock.monotonic(), clock.wall()

    def now(self) -> float:
        """Unix time in seconds, never less than the last answer."""
        at = self._clock.monotonic()
        self._latest = max(self._clock.wall(), self._latest + at - self._at)
        self._at = at
        return self._latest


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """The moment the test has set."""
        return self._monotonic

    def wall(self) -> float:
        """The wall time the test has set."""
        return self._wall

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as an operator or NTP does."""
        self._wall += seconds

    async def sleep(self, seconds: float) -> None:
        """Return once the test has advanced the clock by ``seconds``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many tasks wait on this clock."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its moment and letting it run until it waits again."""
        until = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            at, _, woken = heapq.heappop(self._sleepers)
            self._wall += at - self._monotonic
            self._monotonic = at
            if not woken.done():
                woken.set_result(None)
            await self.settle()
        self._wall += until - self._monotonic
        self._monotonic = until
        await self.settle()

    @staticmethod
    async def settle(turns: int = 20) -> None:
        """Let every ready task take ``turns`` steps."""
        for _ in range(turns):
            await asyncio.sleep(0)
