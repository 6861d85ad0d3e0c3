"""A quantile of what comes, from how what came differed from what was known before.

The last value times the empirical quantile of the growth over a boot time says what demand will not exceed in so many
cases, with no assumption about its shape. The same correction turns any other expectation into a quantile.

Demand that only trembles grows after each low value, so that its growths promise more than ever comes. The highest of
the last values is therefore asked as well: of like values in any order (whatever their distribution), one in n + 1 is
above the n before it. Where n is large enough for the quantile, the ratio to the highest is then at most 1, and nothing
beyond what has just been is expected. Demand that rises passes its highest value all the time, and both say the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from inferno_governator.forecast.candidates import Series

# With fewer ratios than this a quantile of them is chance; demand is then taken to grow by this much.
_FEWEST, _UNKNOWN = 12, 1.2


@dataclass(frozen=True, slots=True)
class Growth:
    """How demand grows.

    Attributes:
        last: Times the last value.
        highest: Times the highest of the last values.
        high: The highest of those that have ended.
    """

    last: float
    highest: float
    high: float

    def of(self, now: float) -> float:
        """What demand is expected to stay under a boot time from now: the lower of both, and at least what it is now.

        >>> Growth(last=1.05, highest=0.98, high=110.0).of(100.0), Growth(1.05, 1.05, 90.0).of(100.0)
        (105.0, 105.0)
        >>> Growth(last=1.05, highest=0.98, high=110.0).of(109.0)
        109.0
        """
        return max(now, min(now * self.last, max(now, self.high) * self.highest))


def quantile_of(ratios: Series, share: float) -> float:
    """The ratio under which such a share of them lies; a guess where there are too few to tell."""
    return float(np.quantile(ratios, share)) if len(ratios) >= _FEWEST else _UNKNOWN


def growth(series: Series, ahead: float, share: float, most: int) -> Growth:
    """Growths, each of which demand stays under in such a share of cases.

    Args:
        series: The rate of each stretch that has ended, oldest first.
        ahead: Stretches until a node that is started now serves; between whole ones growth is taken to be steady.
        share: The quantile.
        most: Newest stretches whose growth counts.
    """
    among = highest_of(share)
    high = float(series[1 - among :].max(initial=0.0))
    return Growth(_between(series, ahead, share, most, 1), _between(series, ahead, share, most, among), high)


def highest_of(share: float) -> int:
    """Of how many values the highest is taken: so many that trembling passes it half as often as the quantile lets it.

    >>> highest_of(0.75), highest_of(0.9)
    (8, 20)
    """
    return math.ceil(round(2 / (1 - share), 6))


def _between(series: Series, ahead: float, share: float, most: int, among: int) -> float:
    whole = int(ahead)
    below = quantile_of(_ratios(series, whole, most, among), share) if whole else 1.0
    above = quantile_of(_ratios(series, whole + 1, most, among), share) if ahead > whole else below
    return float(below * (above / below) ** (ahead - whole)) if below > 0 else above


def _ratios(series: Series, ahead: int, most: int, among: int) -> Series:
    """How many times the highest of so many values each of the last values was, so many stretches later; where all were
    zero, nothing is told."""
    if len(series) <= ahead:
        return np.zeros(0)
    # Before what is known there is nothing that could be higher.
    padded = np.concatenate([np.zeros(among - 1), series[:-ahead]])
    before = np.lib.stride_tricks.sliding_window_view(padded, among).max(axis=1)[-most:]
    after = series[ahead:][-most:]
    ratios: Series = after[before > 0] / before[before > 0]
    return ratios
