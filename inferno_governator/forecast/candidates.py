"""Ways to expect demand: the last value, and what may take its place where it proves better.

A candidate is given a series of rates, one a stretch, oldest first, and says what the rate is some stretches later.
It never sees what comes after the series.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Series: TypeAlias = NDArray[np.float64]

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to expect demand.

    Attributes:
        name: What it is called.
        ahead: The rate so many stretches after a series' end.
        least: Stretches that it needs to say anything.
    """

    name: str
    ahead: Callable[[Series, int], float]
    least: int


LAST = Candidate("last value", lambda series, _: float(series[-1]), 1)


def candidates(stretch_seconds: float) -> list[Candidate]:
    """All that can be had here; those of the extra ``forecast`` only where its libraries are installed."""
    day = round(_DAY / stretch_seconds)
    found = [_seasonal("same time yesterday", day), _seasonal("same time last week", 7 * day)]
    if find_spec("statsmodels") is not None:
        found.append(Candidate("theta", lambda series, steps: _theta(series, steps, day), 3 * day))
    if find_spec("sklearn") is not None:
        found.append(Candidate("ridge on lags", _ridge, 3 * day))
    return found


def _seasonal(name: str, period: int) -> Candidate:
    """What was at that time, moved by how the level of the last hours differs from the level then."""

    def ahead(series: Series, steps: int) -> float:
        level = max(1, period // 24)
        then = float(series[-period - level : -period].mean())
        now = float(series[-level:].mean())
        # steps is less than a period: boot times are minutes.
        past = float(series[-period + steps - 1]) if steps <= period else float(series[-1])
        return past * now / then if then > 0 else past

    return Candidate(name, ahead, period + max(1, period // 24))


def _theta(series: Series, steps: int, day: int) -> float:
    """The theta method (Assimakopoulos and Nikolopoulos 2000), on a series from which the day was taken out."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    recent = series[-3 * day :]
    fitted = ThetaModel(recent, period=day, deseasonalize=True, method="additive").fit(use_mle=False)
    return max(0.0, float(fitted.forecast(steps).iloc[-1]))


def _ridge(series: Series, steps: int) -> float:
    """Growth from the last value by the growths before it: a linear model of logarithms, held close to no growth."""
    from sklearn.linear_model import Ridge

    logs = np.log(np.maximum(series, 1e-9))
    lags = np.array([1, 2, 3, 6, 12])
    origins = np.arange(int(lags[-1]), len(logs) - steps)
    features = logs[origins][:, None] - logs[origins[:, None] - lags]
    growth = logs[origins + steps] - logs[origins]
    model = Ridge(alpha=1.0).fit(features, growth)
    last = logs[-1] - logs[-1 - lags]
    return float(np.exp(logs[-1] + model.predict(last[None])[0]))
