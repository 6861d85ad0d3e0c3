"""Is the configuration that was found really better? Both measured in turn, in one run. Pure.

A sweep picks the luckiest of many measurements, and a machine is not the same from one minute to the next. So the two
are measured again, one after the other, several times; each round gives one ratio.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from inferno_backend.benchmark.curve import Step

# With fewer rounds no order of them is unlikely enough.
LEAST_ROUNDS = 6
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Round:
    """Both configurations measured one right after the other."""

    baseline: Step
    winner: Step

    @property
    def ratio(self) -> float:
        """Throughput of the one found, as a multiple of the other's."""
        return self.winner.requests_per_second / self.baseline.requests_per_second


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the one found is to be used; ``ratio`` is the median, ``least`` the lower end of its 95 % interval."""

    better: bool
    ratio: float
    least: float
    reason: str


def least_median(ratios: Sequence[float]) -> float:
    """The lower end of a two-sided 95 % confidence interval of the median, whatever the distribution; 0 when there are
    too few. Source: order statistics, Conover, "Practical Nonparametric Statistics", 3.2.

    >>> least_median([1.1, 1.2, 1.3, 1.4, 1.5, 1.6]), least_median([1.1, 1.2])
    (1.1, 0.0)
    """
    count, below, at = len(ratios), 0.0, 0
    while True:
        below += math.comb(count, at) / 2**count
        if 2 * below > 1 - _CONFIDENCE:
            break
        at += 1
    return sorted(ratios)[at - 1] if at else 0.0


def verdict(rounds: Sequence[Round], objective_ms: float) -> Verdict:
    """Judge the rounds.

    The one found must keep the objective in the median round; and do more (the whole confidence interval of the median
    ratio is above 1), or keep it where the other does not.
    """
    ratios = [each.ratio for each in rounds]
    ratio, least = statistics.median(ratios), least_median(ratios)
    found = statistics.median(each.winner.p99_ms for each in rounds)
    before = statistics.median(each.baseline.p99_ms for each in rounds)
    if any(each.winner.failures for each in rounds):
        return Verdict(False, ratio, least, "requests failed with it")
    if found > objective_ms:
        return Verdict(False, ratio, least, f"side by side its p99 is {found:.4g} ms, beyond {objective_ms:g} ms")
    if before > objective_ms:
        reason = f"it keeps {objective_ms:g} ms at p99, and the old one does not ({before:.4g} ms)"
        return Verdict(True, ratio, least, reason)
    rise = f"{ratio:.2f} times the throughput"
    if least <= 1:
        return Verdict(False, ratio, least, f"{rise}, which may be chance ({least:.2f} cannot be ruled out)")
    return Verdict(True, ratio, least, f"{rise} (95 %: {least:.2f} or more)")
