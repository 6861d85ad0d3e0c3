"""When zones have no spot machines: synthetic losses that are correlated, as those of real zones are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, order=True)
class Outage:
    """From ``begin`` to ``end``, in seconds of the trace, a zone has no spot machine: those that run are taken at its
    begin, and none starts before its end."""

    begin: float
    end: float
    zone: str


@dataclass(frozen=True, slots=True)
class Weather:
    """How zones lose spot machines.

    Attributes:
        per_day: Outages that begin in one zone in a day, on average.
        mean_seconds: How long one lasts on average; exponential.
        together: Share of outages that come to the whole region: they hit each of the other zones as well, each with
            probability ``spread``, within ``within_seconds``.
    """

    per_day: float = 2.0
    mean_seconds: float = 3600.0
    together: float = 0.3
    spread: float = 0.7
    within_seconds: float = 600.0


def outages(weather: Weather, zones: Sequence[str], seconds: float, seed: int) -> tuple[Outage, ...]:
    """Outages of some zones over a time, by begin; those of one zone that overlap are one. The same seed gives the
    same ones, and how many zones there are does not change when a zone's own begin.
    """
    found: dict[str, list[tuple[float, float]]] = {zone: [] for zone in zones}
    for place, zone in enumerate(zones):
        random = np.random.default_rng((seed, place))
        for begin in sorted(random.random(random.poisson(weather.per_day * seconds / 86400)) * seconds):
            length = float(random.exponential(weather.mean_seconds))
            found[zone].append((float(begin), float(begin) + length))
            if random.random() >= weather.together:
                continue
            for other in zones:
                if other != zone and random.random() < weather.spread:
                    start = float(begin + random.random() * weather.within_seconds)
                    found[other].append((start, start + float(random.exponential(weather.mean_seconds))))
    merged = [Outage(begin, end, zone) for zone in zones for begin, end in _merged(found[zone])]
    return tuple(sorted(each for each in merged if each.begin < seconds))


def _merged(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for begin, end in sorted(stretches):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
