from __future__ import annotations

import asyncio
import gc
import weakref

from inferno_runtime.clock import ManualClock
from inferno_runtime.garbage import keep_collections_short


class Cycle:
    def __init__(self) -> None:
        self.itself = self


async def test_what_survives_a_long_collection_is_set_aside_and_looked_at_again_in_the_end() -> None:
    clock = ManualClock()
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keep_collections_short(clock, long=0.0, thorough=60.0))
        await clock.settle()
        garbage = Cycle()
        gone = weakref.ref(garbage)
        gc.collect()
        assert gc.get_freeze_count() > 0
        del garbage
        gc.collect()
        assert gone() is not None, "it is set aside"
        await clock.advance(60.0)
        assert gone() is None
        keeping.cancel()
    assert gc.get_freeze_count() == 0


async def test_a_short_collection_sets_nothing_aside() -> None:
    clock = ManualClock()
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keep_collections_short(clock, long=1.0))
        await clock.settle()
        gc.collect()
        assert gc.get_freeze_count() == 0
        keeping.cancel()


async def test_once_something_is_set_aside_what_is_new_is_looked_at_soon() -> None:
    clock = ManualClock()
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keep_collections_short(clock, long=0.0, few=0))
        await clock.settle()
        gc.collect()
        garbage = Cycle()
        gone = weakref.ref(garbage)
        del garbage
        await clock.advance(0.25)
        assert gone() is None
        keeping.cancel()
