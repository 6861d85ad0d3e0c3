"""Many tries of one piece of work, and the rate that follows. Pure but for the work itself."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

_LEAST = 5


def rate(seconds: Sequence[float], work: float) -> tuple[float, float]:
    """Median of ``work`` a second, and half of the distance between its quartiles as a share of it; at least two tries.

    >>> rate([1.0, 2.0, 2.5, 5.0, 10.0], 10)
    (4.0, 0.375)
    """
    rates = [work / each for each in seconds]
    lower, median, upper = statistics.quantiles(rates, n=4, method="inclusive")
    return median, (upper - lower) / 2 / median


def timed(run: Callable[[], float], seconds: float) -> list[float]:
    """Repeat ``run``, which returns how long it took, until ``seconds`` are used, at least five times; the first, in
    which things are set up, does not count."""
    run()
    tries: list[float] = []
    while len(tries) < _LEAST or sum(tries) < seconds:
        tries.append(run())
    return tries
