"""Looks at the devices once a second, beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from inferno_backend.hardware.inventory import Probe
from inferno_backend.hardware.use import DeviceReading, Use
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_LOG = logs.get("devices")
_EVERY = 1.0
# A device that takes longer is left out until it answers.
_PATIENCE = 3.0
_T = TypeVar("_T")


class Watch:
    """Reads all devices again and again into ``readings``.

    Each kind of device is read in a thread that nobody waits for in the end: a driver whose GPU has fallen off the bus
    may keep a call for minutes, and neither heartbeats, nor the agent's end, nor the other devices may wait for that.
    """

    def __init__(
        self, probes: Sequence[Probe], clock: Clock, triton_pid: Callable[[], int], patience: float = _PATIENCE
    ) -> None:
        self.readings = Latest[DeviceReading | None](None)
        self._probes = probes
        self._clock = clock
        self._triton_pid = triton_pid
        self._patience = patience
        self._asked: dict[int, asyncio.Future[tuple[Use, ...]]] = {}
        self._silent: set[int] = set()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await self._clock.sleep(_EVERY)

    async def read(self) -> DeviceReading:
        """Read once, now: what answers in time."""
        for number, probe in enumerate(self._probes):
            if number not in self._asked:
                self._asked[number] = self._ask(probe)
        await asyncio.wait(self._asked.values(), timeout=self._patience)
        found: list[Use] = []
        for number, answer in list(self._asked.items()):
            if answer.done():
                found += self._asked.pop(number).result()
                self._silent.discard(number)
            elif number not in self._silent:
                self._silent.add(number)
                _LOG.warning("a device's driver does not answer: what it would tell stays unknown until it does")
        reading = DeviceReading(self._clock.monotonic(), self._clock.wall(), tuple(found))
        self.readings.set(reading)
        return reading

    def _ask(self, probe: Probe) -> asyncio.Future[tuple[Use, ...]]:
        pid = self._triton_pid()
        return aside(lambda: probe.uses(pid))


def aside(work: Callable[[], _T]) -> asyncio.Future[_T]:
    """What ``work`` returns or raises, run in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def finish(result: _T | None, error: BaseException | None) -> None:
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
        except Exception as raised:  # noqa: BLE001 - handed on to whoever waits
            error = raised
        # The loop may have ended meanwhile, and with it everybody who waited.
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, name="devices", daemon=True).start()
    return done
