"""Work that blocks, in a thread that no shutdown waits for: ``asyncio.to_thread`` holds the end of the process up until
its threads have ended (https://docs.python.org/3/library/asyncio-runner.html#asyncio.run)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_background(work: Callable[[], T]) -> T:
    """What ``work`` returns, or raises. Whoever is cancelled leaves it running, and the end of the process cuts it off
    wherever it is: it must bear that as it bears a crash."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001 - it is raised where it is waited for
            error = raised
        # The loop may be closed: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return await done
