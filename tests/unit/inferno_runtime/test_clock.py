from __future__ import annotations

import asyncio
import time

from inferno_runtime.clock import ForwardTime, ManualClock, SystemClock


async def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.monotonic()
    await clock.sleep(0)
    assert before <= clock.monotonic() <= time.monotonic()
    assert abs(clock.wall() - time.time()) < 1


async def test_sleepers_wake_in_order_and_at_their_moment() -> None:
    clock, woken = ManualClock(), list[tuple[str, float]]()

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("late", 2.0))
        tasks.create_task(sleeper("soon", 1.0))
        tasks.create_task(sleeper("at once", 0.0))
        await clock.settle()
        assert woken == [("at once", 1000.0)]
        assert clock.sleepers == 2
        await clock.advance(3.0)
    assert woken == [("at once", 1000.0), ("soon", 1001.0), ("late", 1002.0)]
    assert (clock.monotonic(), clock.sleepers) == (1003.0, 0)


async def test_the_wall_clock_may_jump_alone() -> None:
    clock = ManualClock(wall=100.0)
    clock.jump_wall(-50.0)
    assert (clock.monotonic(), clock.wall()) == (1000.0, 50.0)
    await clock.advance(10.0)
    assert (clock.monotonic(), clock.wall()) == (1010.0, 60.0)


async def test_time_that_never_goes_back_follows_a_clock_set_ahead_and_no_clock_set_back() -> None:
    clock = ManualClock(wall=100.0)
    forward = ForwardTime(clock)
    clock.jump_wall(3600.0)
    assert forward.now() == 3700.0
    clock.jump_wall(-7200.0)
    await clock.advance(10.0)
    assert forward.now() == 3710.0
    clock.jump_wall(7200.0)
    assert forward.now() == 3710.0
    await clock.advance(10.0)
    assert forward.now() == clock.wall() == 3720.0


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(2.0)
    assert clock.sleepers == 0
