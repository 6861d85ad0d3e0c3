"""A governator process for tests of the command line, which brings its own event loop: this one runs in a thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from tests.integration.inferno_governator.governators import Governator, governator_process


async def _nothing(_: Governator) -> None:
    pass


@contextmanager
def governing(
    database: str, *options: str, prepare: Callable[[Governator], Awaitable[None]] = _nothing
) -> Iterator[str]:
    """Run a governator; yields its address once ``prepare`` has told it what it is to know."""
    found: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with governator_process(database, *options) as running:
            await prepare(running)
            found.append(str(json.loads(running.facts)["address"]))
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60), "the governator started"
        yield found[0]
    finally:
        over.set()
        thread.join()
