"""Settings of forecasts: ``governator.forecast`` in the settings file."""

from __future__ import annotations

import pydantic

from inferno_runtime.settings import option


class ForecastSettings(pydantic.BaseModel):
    """How demand is forecast. A stretch is the time over which rates are averaged before they are looked at."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    quantile: float = option(
        0.9,
        gt=0,
        lt=1,
        help="Share of times in which demand should stay under each bound that a forecast is the lowest of.",
    )
    stretch_seconds: float = option(600.0, gt=0, help="Seconds of a stretch.")
    growth_stretches: int = option(144, ge=12, help="Stretches over which the growth of demand is looked at.")
    margin: float = option(0.05, ge=0, lt=1, help="Share by which another way must beat the last value.")
    origins: int = option(168, ge=24, help="Times in the past at which the back-test forecasts.")
    spacing: int = option(2, ge=1, help="Stretches between two of them.")
