"""A bounded queue of facts between two stages; what does not fit is dropped and counted."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue of at most ``capacity`` items, for one event loop and one reader.

    When it is full the oldest item is dropped: facts lose their worth with age.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._dropped = 0
        self._lingers = True
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def dropped(self) -> int:
        """How many items were dropped so far."""
        return self._dropped

    def put(self, item: T) -> None:
        """Accept an item; a full mailbox drops its oldest one for it."""
        if len(self._items) >= self._capacity:
            self._items.popleft()
            self._dropped += 1
        self._items.append(item)
        self._arrived.set()

    def hasten(self) -> None:
        """From now on hand out what is there at once: the end is near, and no more is worth waiting for."""
        self._lingers = False
        self._arrived.set()

    async def take(self, max_items: int, linger: float) -> list[T]:
        """Wait for one item, then up to ``linger`` seconds for ``max_items``, and return what came, oldest first."""
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        if len(self._items) < max_items:
            try:
                async with asyncio.timeout(linger):
                    while len(self._items) < max_items and self._lingers:
                        self._arrived.clear()
                        await self._arrived.wait()
            except TimeoutError:
                pass  # The linger is over: a smaller batch goes out.
        return [self._items.popleft() for _ in range(min(max_items, len(self._items)))]
