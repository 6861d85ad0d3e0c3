"""Triton's counters, read twice a second: the one source of load, stalls and samples."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inferno_backend.node import ModelLoad
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_backend.triton.streams import Seen
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError
from inferno_runtime.latest import Latest

_LOG = logs.get("meter")
_EVERY = 0.5
# The load's latency is a mean over about this long.
_LOAD_WINDOW = 1.0

Source = Callable[[], Awaitable[Mapping[Key, Counters]]]


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters and streams at one moment: ``at`` in monotonic seconds, ``wall`` in Unix seconds."""

    at: float
    wall: float
    counters: Mapping[Key, Counters] = field(default_factory=lambda: MappingProxyType({}))
    streams: Seen = field(default_factory=lambda: MappingProxyType({}))


class Meter:
    """Reads the source again and again; a reading that fails is left out."""

    def __init__(self, source: Source, clock: Clock, streams: Callable[[], Seen] = dict) -> None:
        self._source = source
        self._streams = streams
        self._clock = clock
        self._window: list[Reading] = []
        self.readings = Latest[Reading | None](None)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await self._clock.sleep(_EVERY)

    async def read(self) -> Reading | None:
        """Read once, now; None when the server does not answer."""
        try:
            counters = await self._source()
        except InfernoError as error:
            _LOG.debug("no reading", error=error.message)
            return None
        seen = MappingProxyType(dict(self._streams()))
        reading = Reading(self._clock.monotonic(), self._clock.wall(), MappingProxyType(dict(counters)), seen)
        self._window.append(reading)
        # One reading as old as the window is kept, so that the window is covered.
        while len(self._window) > 2 and reading.at - self._window[1].at >= _LOAD_WINDOW:
            self._window.pop(0)
        self.readings.set(reading)
        return reading

    def load(self) -> tuple[ModelLoad, ...] | None:
        """The load by the last reading; None when there is no fresh one."""
        if not self._window or self._clock.monotonic() - self._window[-1].at > 3 * _EVERY:
            return None
        return load_between(self._window[0], self._window[-1])


def load_between(earlier: Reading, now: Reading) -> tuple[ModelLoad, ...]:
    """Each model's load, its versions added up."""
    totals: dict[str, tuple[Counters, Counters]] = {}
    for (name, version), counters in now.counters.items():
        recent = counters.since(earlier.counters.get((name, version), counters))
        all_before, recent_before = totals.get(name, (Counters(), Counters()))
        totals[name] = (all_before + counters, recent_before + recent)
    return tuple(
        ModelLoad(
            name,
            queued=total.pending,
            completed=total.success,
            failed=total.failure,
            latency_micros=recent.request_micros // recent.success if recent.success else 0,
        )
        for name, (total, recent) in sorted(totals.items())
    )
