"""One slot of state between two stages: the newest value wins, a slow reader skips what it missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest value of something, and a way to wait for the next one.

    Used within one event loop. Setting an equal value is no change.
    """

    def __init__(self, initial: T) -> None:
        self._value = initial
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake every reader; an equal value changes nothing."""
        if value is self._value or value == self._value:
            return
        self._value = value
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def watch(self) -> AsyncIterator[T]:
        """Yield the current value, then the newest one after each change, without end."""
        while True:
            changed, value = self._changed, self._value
            yield value
            await changed.wait()

    async def wait_for(self, predicate: Callable[[T], bool]) -> T:
        """Wait until the value satisfies ``predicate`` and return it."""
        while not predicate(self._value):
            await self._changed.wait()
        return self._value
