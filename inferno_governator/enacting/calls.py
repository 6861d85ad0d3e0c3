"""Calls of providers that are under way: a machine may take minutes to stop, and the next decision does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self


class Calls:
    """At most one for an intent, while it is entered. Leaving it breaks off those that run: that a call was made is on
    disk, and the provider's list tells the next life what came of it."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._failures: list[Exception] = []
        self._group = asyncio.TaskGroup()

    @property
    def intents(self) -> set[int]:
        """Numbers of the intents that have one."""
        return set(self._tasks)

    def begin(self, intent: int, call: Callable[[], Coroutine[object, object, None]]) -> None:
        """Make a call for an intent that has none."""
        task = self._group.create_task(self._run(call))
        self._tasks[intent] = task
        # Not at the end of the call: one that is cancelled before it has begun has none.
        task.add_done_callback(lambda _: self._tasks.pop(intent))

    def raise_failure(self) -> None:
        """Raise what a call has ended with since, if one has; each once."""
        if self._failures:
            raise self._failures.pop(0)

    async def _run(self, call: Callable[[], Coroutine[object, object, None]]) -> None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the tick writes it down, and the others go on
            self._failures.append(error)

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await self._group.__aexit__(kind, error, trace)
