"""The leash on which ``inferno up`` holds its nodes: a pipe whose write end only it has, so it ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def while_held(leash_fd: int, work: Coroutine[object, object, None]) -> None:
    """Do the work until the leash ends; for ever without one (negative). Whoever goes on deciding while the nodes end
    would replace them."""
    if leash_fd < 0:
        await work
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(leash_fd, ended.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(work)
            await ended.wait()
            working.cancel()
    finally:
        loop.remove_reader(leash_fd)
