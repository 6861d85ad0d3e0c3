"""Demand as it may be in some time, when it grows by a known rate: an interval that covers what it claims.

What is known is a series of peaks, one for each day (or any other period). The growth is given, so the interval has to
say only how far demand strays from its path. Peaks of the past, each held against the path from the one so many periods
before, show that: their logarithms differ by so much in the root mean square. Where the series is too short for a look
so far ahead, the spread of the longest look goes on to grow with the power of time that the series itself shows,
between 1/4 and that of a random walk, 1/2. Few looks know the spread badly, and Student's distribution with as many
degrees of freedom as there are looks that do not overlap, less one, accounts for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from inferno_runtime.errors import InvalidInput

# Fewer peaks say nothing of how far demand strays.
FEWEST = 5
# A look so far back leaves at least so many that do not overlap.
_LOOKS = 5
# The spread grows at least with this power of time, whatever a short history shows.
_SLOWEST = 0.25
# Days in the mean month.
DAYS = 30.44


@dataclass(frozen=True, slots=True)
class Expected:
    """Demand at a time, and the interval around it."""

    middle: float
    low: float
    high: float


def expected(
    history: Sequence[float], periods: int, growth: float, coverage: float, now: float | None = None
) -> Expected:
    """Demand some periods after the last of a history.

    Args:
        history: Peaks of periods, oldest first.
        periods: How far ahead, in the same periods.
        growth: Growth of one period, as a share: 0.01 for one per cent.
        coverage: Share of cases in which the true value is to lie within the interval.
        now: Demand from which growth goes on, in any unit; the history's last where it is not given.

    Raises:
        InvalidInput: The history is too short or holds a value that is not positive, or an argument cannot be.
    """
    if len(history) < FEWEST or not all(0 < value < math.inf for value in history):
        raise InvalidInput(
            f"{len(history)} peaks of demand, some of them perhaps zero, do not show how far demand strays.",
            reason="SHORT_HISTORY",
            fix=f"Give at least {FEWEST} positive ones, or ask again when the mesh has run for as many days.",
        )
    if not 0 < coverage < 1 or growth <= -1 or periods < 1:
        raise InvalidInput(
            "The interval cannot be: its coverage is not between 0 and 1, or demand shrinks by all there is.",
            reason="BAD_GROWTH",
            fix="Give a coverage such as 0.9 and a growth above -100 %.",
        )
    middle = (history[-1] if now is None else now) * (1 + growth) ** periods
    wide = _student(0.5 + coverage / 2, *_spread(history, periods, math.log1p(growth)))
    return Expected(middle, middle * math.exp(-wide), middle * math.exp(wide))


def _spread(history: Sequence[float], periods: int, growth: float) -> tuple[float, float]:
    """The spread of the logarithm after so many periods around the history's own growth, and its degrees of freedom."""
    logs = [math.log(value) for value in history]

    def strayed(back: int) -> float:
        ways = [logs[at + back] - logs[at] - growth * back for at in range(len(logs) - back)]
        return math.sqrt(sum(way * way for way in ways) / len(ways))

    back = max(1, min(periods, (len(logs) - 1) // _LOOKS))
    near, far = strayed(max(1, back // 4)), strayed(back)
    # How fast the spread grows with time, from the history itself: 0 returns to a mean, 1/2 walks at random.
    pace = 0.5
    if back > 3 and near > 0 and far > 0:
        pace = min(0.5, max(_SLOWEST, math.log(far / near) / math.log(back / (back // 4))))
    freedom = max(1.0, (len(logs) - 1) / back - 1)
    # Looks that overlap show less than as many that do not.
    return far * math.sqrt((freedom + 1) / freedom) * (periods / back) ** pace, freedom


def _student(share: float, spread: float, freedom: float) -> float:
    """The quantile of Student's distribution, times a spread: exact for 1 and 2 degrees of freedom, else after Hill
    (Communications of the ACM, algorithm 396), which is right to 0.1 %.

    >>> [round(_student(0.95, 1.0, freedom), 2) for freedom in (1, 2, 3, 10, 1000)]
    [6.31, 2.92, 2.35, 1.81, 1.65]
    """
    tails = 2 * (1 - share)
    if freedom <= 1:
        return spread * math.tan(math.pi / 2 * (1 - tails))
    if freedom <= 2:
        return spread * math.sqrt(2 / (tails * (2 - tails)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * tails) ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(tails / 2)
        y = x * x
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = a * y * y
        y = math.expm1(y) if y > 0.002 else y + y * y / 2
    else:
        y = (
            (1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return spread * math.sqrt(freedom * y)
