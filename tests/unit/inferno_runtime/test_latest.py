from __future__ import annotations

import asyncio

from inferno_runtime.latest import Latest


async def test_a_watcher_sees_the_current_value_and_then_the_newest() -> None:
    slot, seen, read = Latest(1), list[int](), asyncio.Event()

    async def watch() -> None:
        async for value in slot.watch():
            seen.append(value)
            read.set()
            if value == 3:
                return

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        await read.wait()
        slot.set(2)
        slot.set(3)
    assert seen == [1, 3]
    assert slot.value == 3


async def test_an_equal_value_wakes_nobody() -> None:
    slot = Latest([1, 2])
    waiting = asyncio.create_task(slot.wait_for(lambda value: value == [3]))
    await asyncio.sleep(0)
    slot.set([1, 2])
    await asyncio.sleep(0)
    assert not waiting.done()
    slot.set([3])
    assert await waiting == [3]


async def test_waiting_for_what_is_true_already_returns_at_once() -> None:
    assert await Latest(5).wait_for(lambda value: value > 4) == 5
