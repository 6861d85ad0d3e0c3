"""How long things took, counted in buckets of seconds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

# Upper bounds in seconds of what takes milliseconds to seconds, such as a call; Envoy's histograms have the same.
CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Of what the control plane does in between.
WORK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Durations:
    """A histogram; ``sum`` is in seconds."""

    def __init__(self, bounds: Sequence[float] = CALLS) -> None:
        self._bounds = (*bounds, math.inf)
        self._slots = [0] * len(self._bounds)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._slots[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds

    def include(self, other: Durations) -> None:
        """Count what another with the same bounds has counted."""
        self._slots = [one + two for one, two in zip(self._slots, other._slots, strict=True)]
        self.sum += other.sum

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Each upper bound as Prometheus writes it, and how many took no longer.

        >>> took = Durations((0.1,))
        >>> took.add(0.05); took.add(3)
        >>> took.buckets
        [('0.1', 1), ('+Inf', 2)]
        """
        names = [str(bound).replace("inf", "+Inf") for bound in self._bounds]
        return list(zip(names, accumulate(self._slots), strict=True))
