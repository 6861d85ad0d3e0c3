"""How long calls take, of late: averages and distributions in which old samples fade."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Buckets of a distribution: each about 9 % wider than the one before, so a quantile is at most that much too high.
_GROWTH = 2 ** (1 / 8)
_LOG_GROWTH = math.log(_GROWTH)
_SHORTEST = 1e-5
# Weights of new samples grow with time; long before they leave the range of a float, all are scaled down.
_RESCALE_AFTER = 64.0


@dataclass(frozen=True, slots=True)
class Level:
    """A mean over ``count`` samples (fading, so not whole), and their variance."""

    count: float = 0.0
    mean: float = 0.0
    variance: float = 0.0


class FadingMean:
    """Mean and variance of samples of which each counts half as much ``half_life`` seconds later."""

    __slots__ = ("_at", "_count", "_half_life", "_squares", "_sum")

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self.clear()

    def clear(self) -> None:
        """Forget every sample."""
        self._at = -math.inf
        self._count = self._sum = self._squares = 0.0

    def add(self, value: float, at: float, weight: float = 1.0) -> None:
        """Take a sample in. ``at``: monotonic seconds."""
        self._fade(at)
        self._count += weight
        self._sum += weight * value
        self._squares += weight * value * value

    def level(self, now: float) -> Level:
        """The mean as it is now."""
        self._fade(now)
        if self._count < 1e-6:
            return Level()
        mean = self._sum / self._count
        return Level(self._count, mean, max(0.0, self._squares / self._count - mean * mean))

    def _fade(self, at: float) -> None:
        if at > self._at:
            kept = 0.5 ** ((at - self._at) / self._half_life)
            self._count *= kept
            self._sum *= kept
            self._squares *= kept
            self._at = at


class Histogram:
    """A distribution of durations in which each sample counts half as much ``half_life`` seconds later."""

    __slots__ = ("_buckets", "_half_life", "_landmark")

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._landmark: float | None = None
        self._buckets: dict[int, float] = {}

    def add(self, seconds: float, at: float, weight: float = 1.0) -> None:
        """Take a sample in. ``at``: monotonic seconds."""
        if self._landmark is None:
            self._landmark = at
        if (age := (at - self._landmark) / self._half_life) > _RESCALE_AFTER:
            self._buckets = {bucket: weight * 2.0**-age for bucket, weight in self._buckets.items()}
            self._landmark, age = at, 0.0
        bucket = math.ceil(math.log(max(seconds, _SHORTEST) / _SHORTEST) / _LOG_GROWTH)
        self._buckets[bucket] = self._buckets.get(bucket, 0.0) + weight * 2.0**age

    def faded(self, now: float) -> dict[int, float]:
        """How much each bucket's samples count now."""
        if self._landmark is None:
            return {}
        factor = 2.0 ** ((self._landmark - now) / self._half_life)
        return {bucket: weight * factor for bucket, weight in self._buckets.items()}


@dataclass(frozen=True, slots=True)
class Distribution:
    """Durations at one moment: how many samples count, by bucket."""

    count: float
    buckets: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, histograms: Iterable[Histogram], now: float) -> Distribution:
        """All of these together."""
        total: dict[int, float] = {}
        for each in histograms:
            for bucket, weight in each.faded(now).items():
                total[bucket] = total.get(bucket, 0.0) + weight
        return cls(sum(total.values()), tuple(sorted(total.items())))

    def quantile(self, part: float) -> float:
        """The duration in seconds that ``part`` of the samples do not exceed; 0 without samples."""
        left = self.count * part
        for bucket, weight in self.buckets:
            left -= weight
            if left <= 1e-9 * self.count:
                return float(_SHORTEST * _GROWTH**bucket)
        return 0.0
