"""Rates as a fluid: how many requests are in the nodes follows a differential equation, and how far single ones are off
it a normal distribution. One step costs the same for one request a second and for a thousand.

With ``m`` requests in nodes shared out by least-request, nodes finish ``mu(m)`` a second. So ``m`` follows
``dm/dt = rate - mu(m)``, and around that its variance follows ``dv/dt = rate + mu(m) - 2 mu'(m) v``: the
linear-noise approximation of a birth-death process. A request that finds ``n`` in its node takes its steps at the
length they have there, behind the wait for a place where the batch is full. ``docs/decisions/0173`` says what of the
request-level replay this gives back, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inferno_governator.simulation.curves import Station
from inferno_governator.simulation.load import Loads, Served, Window
from inferno_governator.simulation.trace import Floats, RateTrace

# Longest step of the equation, in seconds.
_STEP = 60.0
# Within this share of where it is going, the equation is a straight line for the whole of a step.
_NEAR = 0.02
# How far from the mean, in deviations, and with which weight: the mid-points of twenty equal shares of a normal one.
_QUANTILES = np.array(
    [-1.95996, -1.43953, -1.15035, -0.93459, -0.75542, -0.59776, -0.45376, -0.31864, -0.18912, -0.06271]
)
_OFF = np.concatenate([_QUANTILES, -_QUANTILES[::-1]])


@dataclass(slots=True)
class _Kind:
    """Nodes of one pool: those that get requests, by name."""

    station: Station
    weight: float
    network: float
    open: dict[str, float]


class FluidLoads(Loads):
    """The rates of a trace on their way through nodes."""

    def __init__(
        self, trace: RateTrace, stations: Sequence[Station], patience: float, network: Sequence[float] = ()
    ) -> None:
        self._trace = trace
        self._patience = patience
        ways = list(network) or [0.0] * len(stations)
        self._kinds = [
            _Kind(station, station.most or 1.0, way, {}) for station, way in zip(stations, ways, strict=True)
        ]
        self._now = 0.0
        # Requests in nodes: their mean and variance.
        self._mean, self._variance = 0.0, 0.0
        self._emptying: list[tuple[float, str]] = []
        self._all: list[tuple[float, Floats, Floats, float]] = []
        self._seen = 0
        self._window_begin = 0.0
        # Requests that came, those of them before ``begin_window``, and those that began anew.
        self._came = self._counted = self._retried = 0.0
        self._done = [0.0] * len(stations)

    def add(self, name: str, kind: int, weight: float, at: float) -> None:
        self._kinds[kind].open[name] = 0.0

    def drain(self, name: str, at: float) -> None:
        for kind in self._kinds:
            if name in kind.open:
                running = self._share(kind)
                del kind.open[name]
                self._mean = max(0.0, self._mean - running)
                # What it has ends by itself: the last of it after one latency.
                step = float(kind.station.step(np.array([running]))[0])
                wait = max(0.0, running - kind.station.places) / (kind.station.most or 1.0)
                self._emptying.append((at + (wait + kind.station.steps * step if running else 0.0), name))

    def lose(self, name: str, at: float) -> None:
        self._emptying = [each for each in self._emptying if each[1] != name]
        for kind in self._kinds:
            if kind.open.pop(name, None) is not None:
                # Least-request gives the same numbers to the others, where there are others.
                self._retried += self._share(kind) if self._total_weight() else 0.0
        if not self._total_weight():
            self._mean = self._variance = 0.0

    def advance(self, until: float) -> list[tuple[str, float]]:
        end = min(until, self._trace.seconds)
        while self._now < end:
            boundary = (int(self._now // self._trace.step) + 1) * self._trace.step
            step = min(end, boundary, self._now + _STEP) - self._now
            if step <= 1e-9:
                self._now = min(end, boundary)
                continue
            self._flow(self._trace.rate(self._now + step / 2), step)
            self._now += step
        emptied = [(name, at) for at, name in sorted(self._emptying) if at <= until]
        self._emptying = [each for each in self._emptying if each[0] > until]
        return emptied

    def _total_weight(self) -> float:
        return sum(len(kind.open) * kind.weight for kind in self._kinds)

    def _share(self, kind: _Kind) -> float:
        """Requests in one node of a pool."""
        total = self._total_weight()
        return self._mean * kind.weight / total if total else 0.0

    def _finished(self, found: Floats) -> Floats:
        """Requests a second that all nodes finish with so many in them; as ``found``."""
        total = self._total_weight()
        done = np.zeros_like(found)
        for kind in self._kinds:
            if kind.open:
                done += len(kind.open) * kind.station.throughput(found * kind.weight / total)
        return done

    def _flow(self, rate: float, seconds: float) -> None:
        if not self._total_weight():
            self._note(rate * seconds, np.full(1, np.nan), np.full(1, np.nan))
            return
        begin = self._mean
        self._settle(rate, seconds)
        middle = (begin + self._mean) / 2
        found = np.maximum(0.0, middle + _OFF * self._variance**0.5)
        latency, first, wait = self._times(found)
        latency[wait > self._patience] = np.nan
        first[wait > self._patience] = np.nan
        patient = float((wait <= self._patience).mean())
        if patient < 1:
            # Who has gone is not in the queue any longer: it is never longer than patience.
            self._mean = min(self._mean, self._bound())
        self._note(rate * seconds, latency, first)
        total = self._total_weight()
        for place, kind in enumerate(self._kinds):
            self._done[place] += rate * seconds * patient * len(kind.open) * kind.weight / total

    def _settle(self, rate: float, seconds: float) -> None:
        """Follow mean and variance for some seconds, in steps in which neither changes much."""
        left = seconds
        for _ in range(64):
            delta = max(self._mean * 1e-4, 1e-3)
            here, above = self._finished(np.array([self._mean, self._mean + delta])).tolist()
            slope = max(0.0, (above - here) / delta)
            step = min(left, seconds / 4)
            if slope > 1e-9:
                # Exact for a straight line; the line is straight enough over a tenth of what is there.
                goal = self._mean + (rate - here) / slope
                if abs(goal - self._mean) <= _NEAR * self._mean:
                    step = left
                else:
                    step = min(step, max(0.2 / slope, seconds / 60))
                fade = float(np.exp(-slope * step))
                spread = (rate + here) / (2 * slope)
                self._mean = max(0.0, goal + (self._mean - goal) * fade)
                self._variance = spread + (self._variance - spread) * fade**2
            else:
                self._mean = max(0.0, self._mean + (rate - here) * step)
                self._variance += (rate + here) * step
            left -= step
            if left <= 1e-9:
                break
        self._variance = min(self._variance, max(self._mean, 1.0) ** 2)

    def _bound(self) -> float:
        """Requests in nodes when the last of the queue waits for its patience."""
        return sum(len(kind.open) * (kind.station.places + self._patience * kind.station.most) for kind in self._kinds)

    def _times(self, found: Floats) -> tuple[Floats, Floats, Floats]:
        """Latency, time to the first token and wait of a request that finds so many; means over the nodes."""
        total = self._total_weight()
        latency, first, waits = np.zeros_like(found), np.zeros_like(found), np.zeros_like(found)
        for kind in self._kinds:
            if not kind.open:
                continue
            station, part = kind.station, len(kind.open) * kind.weight / total
            here = found * kind.weight / total
            step = station.step(np.maximum(here, 1.0))
            wait = np.maximum(0.0, here - station.places + 1) / (station.most or 1.0)
            latency += part * (kind.network + wait + station.steps * step)
            first += part * (kind.network + wait + station.first * step)
            waits += part * wait
        return latency, first, waits

    def _note(self, came: float, latency: Floats, first: Floats) -> None:
        self._came += came
        self._all.append((self._now, latency, first, came))

    def running(self, name: str) -> float:
        return next((self._share(kind) for kind in self._kinds if name in kind.open), 0.0)

    def given(self, name: str) -> float:
        for kind in self._kinds:
            if name in kind.open:
                return (self._came - self._counted) * kind.weight / self._total_weight()
        return 0.0

    def window(self, at: float) -> Window:
        seconds = max(at - self._window_begin, 1e-9)
        samples = self._all[self._seen :]
        came = sum(each[3] for each in samples)
        queued = sum(
            len(kind.open) * max(0.0, self._share(kind) - kind.station.places) for kind in self._kinds if kind.open
        )
        latency, first, weight = _flat(samples)
        self._window_begin, self._seen = at, len(self._all)
        return Window(came / seconds, queued, latency, first, weight)

    def begin_window(self) -> None:
        self._counted = self._came

    def served(self) -> Served:
        latency, first, weight = _flat(self._all)
        at = np.concatenate([np.full(len(each[1]), each[0]) for each in self._all]) if self._all else np.zeros(0)
        return Served(at, latency, first, weight, self._came, self._retried, tuple(self._done))


def _flat(samples: Sequence[tuple[float, Floats, Floats, float]]) -> tuple[Floats, Floats, Floats]:
    if not samples:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    weight = np.concatenate([np.full(len(latency), came / len(latency)) for _, latency, _, came in samples])
    return np.concatenate([each[1] for each in samples]), np.concatenate([each[2] for each in samples]), weight
