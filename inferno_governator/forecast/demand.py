"""From counted minutes to the series that forecasts and policies look at. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from inferno_governator.forecast.candidates import Series

# Minutes without telemetry that are taken to be like their neighbours; a longer silence ends what is known.
_GAP = 2


def known_since(heard: Set[int], end: int) -> int:
    """The first minute from which on telemetry came without a longer silence, until before ``end``.

    >>> known_since({3, 7, 8, 10}, 12)
    7
    >>> known_since({3, 7}, 12)
    12
    """
    first = end
    for minute in sorted(heard, reverse=True):
        if first - minute - 1 > _GAP:
            break
        first = minute
    return first


def recent(requests: Mapping[int, int], heard: Set[int], end: int, minutes: int) -> tuple[tuple[float, float], ...]:
    """Rates of the last minutes that are known, each with when it ended (Unix seconds), oldest first."""
    first = max(known_since(heard, end), end - minutes)
    return tuple(((minute + 1) * 60.0, requests.get(minute, 0) / 60.0) for minute in range(first, end))


def stretches(requests: Mapping[int, int], heard: Set[int], end: int, length: int) -> Series:
    """The mean rate of each whole stretch of so many minutes that ends before ``end``, oldest first, for as long as
    telemetry came without a longer silence."""
    first, last = -(-known_since(heard, end) // length) * length, end // length * length
    starts = range(first, last, length)
    sums = [sum(requests.get(minute, 0) for minute in range(start, start + length)) for start in starts]
    return np.array(sums, dtype=np.float64) / (length * 60.0)
