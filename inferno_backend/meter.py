"""Triton's counters, read twice a second: the one source of load, stalls and samples."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inferno_backend.node import ModelLoad
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_backend.triton.streams import Seen, Streams
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
    totals: dict[str, tuple[Counters, Counters, float]] = {}
    for key, counters in now.counters.items():
        recent = counters.since(earlier.counters.get(key, counters))
        total, lately, executing = totals.get(key[0], (Counters(), Counters(), 0.0))
        executing += _executing(recent, now.streams.get(key), now.at - earlier.at)
        totals[key[0]] = (total + counters, lately + recent, executing)
    return tuple(
        ModelLoad(
            name,
            queued=total.pending,
            completed=total.success,
            failed=total.failure,
            latency_micros=recent.request_micros // recent.success if recent.success else 0,
            service_micros=recent.compute_micros // recent.success if recent.success else 0,
            executing=executing,
        )
        for name, (total, recent, executing) in sorted(totals.items())
    )


def _executing(recent: Counters, streams: Collection[Streams] | None, seconds: float) -> float:
    """How many requests of a version execute.

    Streams are counted. Others show only when they end: their time in execution, shared out over the window, is their
    mean number (Little's law). When some wait, one executes at least.
    """
    if streams is not None:
        return float(sum(each.running for each in streams))
    mean = recent.compute_micros / 1e6 / seconds if seconds > 0 else 0.0
    return max(mean, 1.0) if recent.pending else mean
