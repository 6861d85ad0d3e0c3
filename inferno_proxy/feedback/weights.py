"""What share of a model's calls an endpoint deserves, by how much slower than the best it was seen to be. Pure.

Durations are compared by their logarithm: a few outliers then decide nothing, and models whose calls differ in length
by nature show a wide spread, which asks for more samples before anything is said (see docs/decisions/0016).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from inferno_proxy.feedback.advice import FULL_WEIGHT, LEAST_WEIGHT
from inferno_proxy.feedback.latency import Level

# An endpoint this many times slower than the best, and surely more than the second, deserves less.
_SLOW = math.log(1.75)
_SURELY = math.log(1.25)
# Not slower than this: well again.
_WELL = math.log(1.5)
# With 2.2, ten times slower means 6 of 1000, and 2.5 times slower 130.
_EXPONENT = 2.2
# Calls of one kind still differ this much (in logarithms): one machine's noise.
_LEAST_SPREAD = 0.25
# Standard errors to both sides that make a difference sure.
_SURE = 2.0
_TO_COMPARE = 3.0
_TO_DECIDE = 10.0
# A share that nobody has seen results of grows up to this; beyond it only slowly.
_PROBE = 50
_STEP = 1.5


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much slower than the model's best an endpoint is: ``excess`` is the logarithm of how many times, ``error``
    its standard error, ``samples`` how many samples say so (fading), ``fresh`` how many came since the last look."""

    samples: float = 0.0
    fresh: int = 0
    excess: float = 0.0
    error: float = math.inf

    @property
    def slow(self) -> bool:
        """The endpoint is slow, and that is no accident."""
        return self.excess > _SLOW and self.excess - _SURE * self.error > _SURELY

    @property
    def well(self) -> bool:
        """The endpoint is as good as others, as far as can be said."""
        return self.excess <= _WELL and self.excess + self.error <= _SLOW


@dataclass(frozen=True, slots=True)
class Share:
    """An endpoint's weight, and since when (monotonic seconds) it is less than full. ``ratio`` is how many times slower
    it was when that was seen last."""

    weight: int = FULL_WEIGHT
    since: float = 0.0
    ratio: float = 1.0

    @property
    def full(self) -> bool:
        """True when nothing is held back."""
        return self.weight >= FULL_WEIGHT


# As much as an endpoint gets that was stuck and has not answered yet.
ON_TRIAL = Share(_PROBE)


def compare(levels: Mapping[str, Level], fresh: Mapping[str, int]) -> dict[str, Evidence]:
    """Compare the endpoints of a model (by node_id) with the best quarter of them."""
    reference = best(levels.values())
    if reference is None:
        return {}
    spread = _spread(levels.values())
    return {
        node: Evidence(level.count, fresh.get(node, 0), level.mean - reference, spread / math.sqrt(level.count))
        for node, level in levels.items()
        if level.count > 0
    }


def best(levels: Iterable[Level]) -> float | None:
    """The level of the best quarter of endpoints; None while there are too few samples of each."""
    means = sorted(level.mean for level in levels if level.count >= _TO_COMPARE)
    return means[(len(means) - 1) // 4] if means else None


def step(share: Share, evidence: Evidence, now: float) -> Share:
    """The share after one more look, twice a second.

    A slow endpoint falls at once to what it deserves. One that looks well comes back fourfold at each look. One about
    which nothing new is known comes back as well, quickly to a twentieth and slowly from there: with no calls nobody
    would learn that it is well, and the first slow call sends it back.
    """
    if evidence.slow and (evidence.fresh if share.weight < FULL_WEIGHT else evidence.samples >= _TO_DECIDE):
        deserved = coarse(FULL_WEIGHT * math.exp(-_EXPONENT * evidence.excess))
        # Around what it deserves, a step up or down is noise.
        if share.full or not deserved <= share.weight <= deserved * _STEP + 1:
            return Share(deserved, now if share.full else share.since, math.exp(evidence.excess))
        return share
    if share.full:
        return share
    factor = 4 if evidence.well and evidence.fresh else 2 if share.weight < _PROBE else 1.25
    return replace(share, weight=min(FULL_WEIGHT, math.ceil(share.weight * factor)))


def coarse(weight: float) -> int:
    """The next lower step, so that equal shares stay equal.

    >>> coarse(1000), coarse(999), coarse(6.3), coarse(0.1)
    (1000, 666, 5, 5)
    """
    if weight >= FULL_WEIGHT:
        return FULL_WEIGHT
    steps = math.ceil(math.log(FULL_WEIGHT / max(weight, LEAST_WEIGHT)) / math.log(_STEP) - 1e-9)
    return max(LEAST_WEIGHT, int(FULL_WEIGHT / _STEP**steps))


def _spread(levels: Iterable[Level]) -> float:
    """How much durations differ at one and the same endpoint."""
    listed = list(levels)
    count = sum(level.count for level in listed)
    pooled = sum(level.count * level.variance for level in listed) / count
    return max(_LEAST_SPREAD, math.sqrt(pooled))
