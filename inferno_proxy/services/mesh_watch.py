"""Whole views of the mesh for whoever watches: built when something changed, for all watchers at once, at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from inferno_proxy.services.closing import Closing
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted
from inferno_runtime.latest import Latest

# Seconds in which changes are gathered, and the part of the time that building one kind of view may take.
_GATHER = 0.25
_PART = 0.1
_MOST_WATCHERS = 100

M = TypeVar("M")
Causes = Sequence[Latest[Any]]


@dataclass(slots=True)
class _Built:
    """The newest view, what it was built from, and when the next one may be built."""

    view: Any
    seen: tuple[object, ...]
    next_at: float


class Views:
    """Streams of views."""

    def __init__(self, clock: Clock, closing: Closing, most: int = _MOST_WATCHERS) -> None:
        self._clock = clock
        self._closing = closing
        self._most = most
        self._watchers = 0
        self._built: dict[Hashable, _Built] = {}

    async def watch(self, key: Hashable, build: Callable[[], M], causes: Causes) -> AsyncIterator[M]:
        """Yield what ``build`` makes, now and whenever one of the causes has changed and it makes something else.

        Watchers with one ``key`` share what is built.

        Raises:
            Exhausted: Too many watch.
            Unavailable: The control plane stops.
        """
        if self._watchers >= self._most:
            raise Exhausted(
                f"{self._watchers} views are watched, the most there may be.",
                reason="TOO_MANY_WATCHERS",
                fix="End some, or ask for lists instead.",
                retry_after=5,
            )
        self._watchers += 1
        try:
            async for view in self._closing.during(self._follow(key, build, causes)):
                yield view
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._built.clear()

    async def _follow(self, key: Hashable, build: Callable[[], M], causes: Causes) -> AsyncIterator[M]:
        sent: M | None = None
        while True:
            view, seen = await self._newest(key, build, causes)
            if view != sent:
                sent = view
                yield view
            await _changed(causes, seen)
            await self._clock.sleep(_GATHER)

    async def _newest(self, key: Hashable, build: Callable[[], M], causes: Causes) -> tuple[M, tuple[object, ...]]:
        while True:
            seen = tuple(cause.value for cause in causes)
            built = self._built.get(key)
            if built is not None and _same(built.seen, seen):
                return built.view, seen
            now = self._clock.monotonic()
            if built is None or built.next_at <= now:
                break
            await self._clock.sleep(built.next_at - now)
        view = build()
        took = self._clock.monotonic() - now
        self._built[key] = _Built(view, seen, now + took / _PART)
        return view, seen


async def _changed(causes: Causes, seen: Sequence[object]) -> None:
    """Return when one of the causes has another value than the one that was seen."""
    waits = [asyncio.create_task(_other(cause, value)) for cause, value in zip(causes, seen, strict=True)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _other(cause: Latest[Any], value: object) -> None:
    await cause.wait_for(lambda newest: newest is not value)


def _same(one: Sequence[object], other: Sequence[object]) -> bool:
    return all(a is b for a, b in zip(one, other, strict=True))
