"""A quantile of what comes, from how what came differed from what was expected.

The last value times the empirical quantile of the growth over a boot time says what demand will not exceed in so many
cases, with no assumption about its shape. The same correction turns any other expectation into a quantile.
"""

from __future__ import annotations

import numpy as np

from inferno_governator.forecast.candidates import Series

# With fewer growths than this a quantile of them is chance; demand is then taken to grow by this much.
_FEWEST, _UNKNOWN = 12, 1.2


def growths(series: Series, ahead: int, most: int) -> Series:
    """How many times its value each of the last values was, so many stretches later; where it was zero, nothing is
    told."""
    recent = series[-most - ahead :]
    before, after = recent[:-ahead], recent[ahead:]
    return after[before > 0] / before[before > 0]


def quantile_of(ratios: Series, share: float) -> float:
    """The ratio under which such a share of them lies; a guess where there are too few to tell."""
    return float(np.quantile(ratios, share)) if len(ratios) >= _FEWEST else _UNKNOWN


def growth(series: Series, ahead: float, share: float, most: int) -> float:
    """The growth that demand stays under in such a share of cases.

    Args:
        series: The rate of each stretch that has ended, oldest first.
        ahead: Stretches until a node that is started now serves; between whole ones growth is taken to be steady.
        share: The quantile.
        most: Newest stretches whose growth counts.
    """
    whole = int(ahead)
    below = quantile_of(growths(series, whole, most), share) if whole else 1.0
    above = quantile_of(growths(series, whole + 1, most), share) if ahead > whole else below
    return float(below * (above / below) ** (ahead - whole)) if below > 0 else above
