"""The watcher and everybody it tells, as one task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from inferno_governator.alerts.receiver import Receiver
from inferno_governator.watch.watcher import Watcher


async def watch(watcher: Watcher, receivers: Iterable[Receiver]) -> None:
    """Look and tell, for ever.

    Raises:
        InfernoError: The database refuses for good.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watcher.run())
        for receiver in receivers:
            tasks.create_task(receiver.run())
