"""Demand is forecast from what came before, and by something else than the last value only where that proved better."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferno_governator.forecast import backtest, demand
from inferno_governator.forecast.candidates import LAST, Candidate, Series, candidates
from inferno_governator.forecast.growth import growth
from inferno_governator.forecast.settings import ForecastSettings

SETTINGS = ForecastSettings()
DAY = 144


def days(count: int, noise: float, depth: float = 0.7, seed: int = 1) -> Series:
    """Days and nights, with noise."""
    chance = random.Random(seed)
    return np.array(
        [
            100 * (1 + depth * math.sin(2 * math.pi * step / DAY)) * math.exp(chance.gauss(0, noise))
            for step in range(count * DAY)
        ]
    )


def walk(count: int, seed: int = 1) -> Series:
    chance = random.Random(seed)
    steps = np.cumsum([chance.gauss(0, 0.05) for _ in range(count * DAY)])
    return np.asarray(100 * np.exp(steps), dtype=np.float64)


def test_growth_is_the_quantile_of_what_demand_grew_by() -> None:
    series = np.array([100.0, 110.0] * 40)
    assert growth(series, 1, 0.9, 144).last == pytest.approx(1.1)
    assert growth(series, 2, 0.9, 144).last == pytest.approx(1.0)
    # It never went above the highest of before.
    assert growth(series, 1, 0.9, 144).of(100.0) == pytest.approx(110.0)
    assert growth(series, 1, 0.9, 144).of(110.0) == pytest.approx(110.0)
    # Between whole stretches growth is steady, and a node that serves at once meets what is.
    rising = growth(np.array([100.0 * 1.21**step for step in range(40)]), 0.5, 0.5, 144)
    assert (rising.last, rising.highest) == pytest.approx((1.1, 1.1))
    assert growth(series, 0, 0.9, 144).of(110.0) == 110.0


def test_with_little_history_demand_is_taken_to_grow() -> None:
    for series in (np.array([5.0, 5.0]), np.zeros(0), np.zeros(200)):
        assert growth(series, 1, 0.75, 144).of(5.0) == pytest.approx(6.0)
        assert growth(series, 2.5, 0.75, 144).of(5.0) == pytest.approx(6.0)


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.sampled_from([0.6, 0.75, 0.9, 0.95]), st.sampled_from([1.0, 1.5, 3.0]))
def test_values_in_any_order_promise_nothing_above_the_highest_of_the_last(
    seed: int, quantile: float, ahead: float
) -> None:
    # Not one shape of noise: even, with long tails, and of two values only.
    chance = np.random.default_rng(seed)
    for values in (chance.uniform(90, 110, 400), chance.lognormal(4, 1, 400), chance.choice([50.0, 200.0], 400)):
        assert growth(values, ahead, quantile, 288).highest <= 1.05


def test_the_quantile_covers_what_it_claims_on_what_it_has_not_seen() -> None:
    series = walk(6)
    covered = [
        series[origin + 2] <= series[origin] * growth(series[: origin + 1], 2, 0.75, 288).last
        for origin in range(300, len(series) - 2)
    ]
    assert 0.70 <= sum(covered) / len(covered) <= 0.80


def test_nothing_beats_the_last_value_on_a_random_walk() -> None:
    choice = backtest.choose(walk(4), 2, SETTINGS, candidates(600)[:1])
    assert choice.candidate is LAST
    last, other = choice.scores
    assert (last.chosen, last.why) == (True, "nothing else beats it")
    assert not other.chosen
    assert "both must be 5% less" in other.why


def test_a_season_is_chosen_where_days_are_alike() -> None:
    series = days(5, noise=0.01)
    choice = backtest.choose(series, 6, SETTINGS, candidates(600)[:2])
    assert choice.candidate.name == "same time yesterday"
    assert [score.chosen for score in choice.scores] == [False, True, False]
    assert choice.scores[0].why == "same time yesterday beats it"
    assert "it wants more history" in choice.scores[2].why
    real = 100 * (1 + 0.7 * math.sin(2 * math.pi * 6 / DAY))
    assert backtest.ahead(series, series[-1], 3600, SETTINGS, choice) == pytest.approx(real, rel=0.05)


def test_a_winner_must_beat_the_last_value_by_the_margin_in_both_errors() -> None:
    series = walk(4)
    barely = Candidate(
        "a hair better", lambda known, steps: float(0.98 * known[-1] + 0.02 * series[len(known) + steps - 1]), 1
    )
    clearly = Candidate(
        "clearly better", lambda known, steps: float((known[-1] + series[len(known) + steps - 1]) / 2), 1
    )
    assert backtest.choose(series, 2, SETTINGS, [barely]).candidate is LAST
    assert backtest.choose(series, 2, SETTINGS, [barely, clearly]).candidate is clearly


def test_a_candidate_never_sees_what_comes_after() -> None:
    series, seen = walk(4), []

    def ahead(known: Series, steps: int) -> float:
        seen.append((len(known), steps))
        assert known.base is None or np.array_equal(known, series[: len(known)])
        return float(known[-1])

    backtest.choose(series, 3, SETTINGS, [Candidate("a", ahead, 10)])
    assert max(length + steps for length, steps in seen) == len(series)


def test_candidates_of_the_extra_forecast_as_well() -> None:
    short = ForecastSettings(origins=40, spacing=2)
    series = days(5, noise=0.02)
    among = candidates(600)
    assert [each.name for each in among[2:]] == ["theta", "ridge on lags"]
    choice = backtest.choose(series, 2, short, among)
    wapes = {score.name: score.wape for score in choice.scores}
    assert wapes["ridge on lags"] < wapes["last value"]
    assert all(score.judged == 40 - 24 for score in choice.scores if score.name != "same time last week")


def test_a_silence_ends_what_is_known_of_demand() -> None:
    heard = {*range(10), *range(20, 40)}
    counted = dict.fromkeys(range(40), 60)
    assert demand.recent(counted, heard, 40, 100)[0] == (21 * 60.0, 1.0)
    assert len(demand.recent(counted, heard, 40, 5)) == 5
    assert demand.recent(counted, heard, 50, 100) == ()
    assert list(demand.stretches(counted, heard, 40, 10)) == [1.0, 1.0]
    # A minute with telemetry and no request had none.
    assert demand.recent({}, heard, 40, 1) == ((2400.0, 0.0),)
