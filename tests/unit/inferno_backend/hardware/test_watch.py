"""Devices are looked at beside the event loop, which a driver that hangs does not hold up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from inferno_backend.hardware.use import Use
from inferno_backend.hardware.watch import Watch, aside
from inferno_backend.node import Gpu
from inferno_runtime.clock import ManualClock
from tests.waiting import eventually


class Driver:
    """A device whose driver answers when it is let."""

    def __init__(self) -> None:
        self.lets = threading.Event()
        self.asked: list[int] = []

    def gpus(self) -> tuple[Gpu, ...]:
        return ()

    def uses(self, triton_pid: int) -> tuple[Use, ...]:
        self.asked.append(triton_pid)
        assert self.lets.wait(30)
        return (Use("GPU-1", "gpu", 0.5),)


async def test_devices_are_read_once_a_second() -> None:
    driver, clock = Driver(), ManualClock()
    driver.lets.set()
    watch = Watch((driver,), clock, lambda: 7)
    running = asyncio.create_task(watch.run())
    first = await watch.readings.wait_for(lambda one: one is not None)
    assert first is not None
    assert (first.at, first.wall, first.uses) == (clock.monotonic(), clock.wall(), (Use("GPU-1", "gpu", 0.5),))
    await eventually(lambda: clock.sleepers == 1, 10, "the watch sleeps")
    await clock.advance(1.0)
    await watch.readings.wait_for(lambda one: one is not None and one.at > first.at)
    assert driver.asked == [7, 7]
    running.cancel()


async def test_a_driver_that_hangs_is_left_out_until_it_answers_and_holds_up_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hanging, sound = Driver(), Driver()
    sound.lets.set()
    watch = Watch((hanging, sound), ManualClock(), lambda: 0, patience=0.01)

    async def devices(wanted: int) -> bool:
        return len((await watch.read()).uses) == wanted

    for _ in range(3):
        await eventually(lambda: devices(1), 10, "the sound one is read")
    assert hanging.asked == [0], "it is not asked again while it hangs"
    assert len(sound.asked) >= 3
    assert "driver does not answer" in capsys.readouterr().out
    await eventually(lambda: devices(1), 10, "the sound one is read again")
    hanging.lets.set()
    await eventually(lambda: devices(2), 10, "both are read")


async def test_a_defect_in_the_thread_is_raised_where_it_is_waited_for() -> None:
    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await aside(broken)


def test_nobody_waits_for_a_thread_in_the_end() -> None:
    driver = Driver()

    async def ends() -> None:
        reading = aside(lambda: driver.uses(1))
        await eventually(lambda: driver.asked == [1], 10, "the driver is asked")
        reading.cancel()

    asyncio.run(ends())
    thread = next(one for one in threading.enumerate() if one.name == "devices")
    driver.lets.set()
    thread.join(10)
    assert not thread.is_alive()
