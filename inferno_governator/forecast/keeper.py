"""Keeps what is known of demand and how it is best forecast: minutes are read at each look, the gate is asked daily."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from inferno_governator.decisions.fleet import FleetFacts
from inferno_governator.forecast import backtest, demand
from inferno_governator.forecast.backtest import Choice, Score
from inferno_governator.forecast.candidates import LAST, Series, candidates
from inferno_governator.forecast.settings import ForecastSettings
from inferno_governator.store import demand as stored
from inferno_governator.store.store import Store
from inferno_runtime import logs
from inferno_runtime.background import in_background
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable

_LOG = logs.get("forecast")
# Hours after which the gate is asked again, and days that it is asked about.
_AGAIN, _DAYS = 24 * 3600.0, 14
# Minutes whose mean is the rate now.
_NOW = 3
# Minutes after which telemetry still arrives: they are read again.
_LATE = 10
# Seconds between two looks whether it is time to ask.
_LOOK = 600.0
_UNASKED = Choice(LAST, np.zeros(0), ())


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of a model.

    Attributes:
        rate: Over the last minutes, requests a second.
        expected: What demand is expected to stay under when a node that is started now serves (:func:`backtest.ahead`).
        boot_seconds: How far ahead that is.
        quantile: The share.
        recent: Rates by the minute, as :class:`inferno_governator.decisions.fleet.ModelFacts` has them.
        scores: How each way to forecast did, the last value first; empty until there is history.
    """

    model: str
    rate: float
    expected: float
    boot_seconds: float
    quantile: float
    recent: tuple[tuple[float, float], ...]
    scores: tuple[Score, ...]


class _Kind(Protocol):
    @property
    def models(self) -> tuple[str, ...]: ...
    @property
    def boot_seconds(self) -> float: ...


def boots(pools: Iterable[_Kind]) -> dict[str, float]:
    """How long the slowest pool that serves it takes to start a node, by model."""
    found: dict[str, float] = {}
    for pool in pools:
        for model in pool.models:
            found[model] = max(found.get(model, 0.0), pool.boot_seconds)
    return found


class ForecastKeeper:
    """Reads demand and forecasts it. The gate runs in a thread, one model at a time; until then the last value does."""

    def __init__(self, store: Store, clock: Clock, settings: ForecastSettings, spare_minutes: int = 10) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._spare = spare_minutes
        self._choices: dict[tuple[str, int], Choice] = {}
        self._asked = -_AGAIN
        self._known = stored.Demand(0)

    async def forecasts(self, wanted: Mapping[str, float]) -> dict[str, Forecast]:
        """What is expected of each model, for the boot time, in seconds, of the slowest node that would serve it.

        Raises:
            Unavailable: The store cannot be read now.
        """
        known = await self._read()
        return {model: self._one(known, model, boot) for model, boot in wanted.items()}

    async def expecting(self, facts: FleetFacts) -> FleetFacts:
        """The fleet with what is expected of its models, and what was asked of them lately.

        Raises:
            Unavailable: The store cannot be read now.
        """
        known = await self.forecasts(boots(facts.pools))
        models = (
            replace(model, forecast=max(model.rate, known[model.model].expected), recent=known[model.model].recent)
            if model.model in known
            else model
            for model in facts.models
        )
        return replace(facts, models=tuple(models))

    async def choose(self, wanted: Mapping[str, float]) -> None:
        """Ask the gate anew for every model, when it has been a day.

        Raises:
            Unavailable: The store cannot be read now.
        """
        if self._clock.monotonic() - self._asked < _AGAIN:
            return
        known = await self._read()
        among = candidates(self._settings.stretch_seconds)
        for model, boot in wanted.items():
            steps = backtest.steps(boot, self._settings.stretch_seconds)
            series = self._series(known, model)
            choice = await in_background(partial(backtest.choose, series, steps, self._settings, among))
            self._choices[model, steps] = choice
            _LOG.info("demand is forecast", model=model, by=choice.candidate.name, stretches=len(series))
        self._asked = self._clock.monotonic()

    async def run(self, wanted: Mapping[str, float]) -> None:
        """Ask the gate once a day, for ever."""
        while True:
            try:
                await self.choose(wanted)
            except Unavailable as error:
                _LOG.warning("demand cannot be read now", error=error.sentence())
            await self._clock.sleep(_LOOK)

    async def _read(self) -> stored.Demand:
        # Roll-ups of the minute that runs are not whole.
        end = int(self._clock.wall() // 60)
        start = end - _DAYS * 1440
        since = max(start, self._known.end - _LATE)
        async with self._store.reading() as connection:
            self._known = self._known.followed(await stored.read_all(connection, since, end), start, since)
        return self._known

    def _series(self, known: stored.Demand, model: str) -> Series:
        length = max(1, round(self._settings.stretch_seconds / 60))
        return demand.stretches(known.requests.get(model, {}), known.heard, known.end, length)

    def _one(self, known: stored.Demand, model: str, boot: float) -> Forecast:
        counted = known.requests.get(model, {})
        recent = demand.recent(counted, known.heard, known.end, int(boot // 60) + self._spare)
        lately = [rate for _, rate in recent[-_NOW:]]
        now = sum(lately) / len(lately) if lately else 0.0
        choice = self._choices.get((model, backtest.steps(boot, self._settings.stretch_seconds)))
        series = self._series(known, model)
        expected = backtest.ahead(series, now, boot, self._settings, choice or _UNASKED)
        scores = choice.scores if choice else ()
        return Forecast(model, now, expected, boot, self._settings.quantile, recent, scores)
