"""The end of streams that would never end by themselves: each returns with a typed error before its server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from inferno_proxy.errors import stopping

T = TypeVar("T")


class Closing:
    """Begins once; a stream inside :meth:`during` ends then."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """End every stream. Twice is the same as once."""
        self._begun.set()

    async def during(self, source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """Hand on what ``source`` yields until it ends or closing begins.

        Raises:
            Unavailable: Closing has begun: connect again.
        """
        begun = asyncio.create_task(self._begun.wait(), name="closing")
        step: asyncio.Task[T] | None = None
        try:
            while True:
                step = asyncio.create_task(_next(source), name="stream-step")
                await asyncio.wait({step, begun}, return_when=asyncio.FIRST_COMPLETED)
                if begun.done():
                    raise stopping()
                try:
                    each = step.result()
                except StopAsyncIteration:
                    return
                yield each
        finally:
            # Both tasks belong to this stream alone; cancelling needs no await, so it also works while being cancelled.
            begun.cancel()
            if step is not None:
                step.cancel()


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)
