"""Intervals of demand in some time."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.plan.growth import expected
from inferno_runtime.errors import InvalidInput

HISTORY = st.lists(st.floats(0.1, 1000), min_size=5, max_size=40)


@given(HISTORY, st.integers(1, 200), st.floats(-0.02, 0.02), st.floats(0.5, 0.98))
def test_an_interval_holds_the_path_and_grows_with_what_it_is_to_cover(
    history: list[float], periods: int, growth: float, coverage: float
) -> None:
    narrow, wide = (expected(history, periods, growth, each) for each in (coverage, coverage + 0.01))
    assert narrow.middle == pytest.approx(history[-1] * (1 + growth) ** periods)
    assert narrow.low <= narrow.middle <= narrow.high
    assert wide.low <= narrow.low
    assert narrow.high <= wide.high


def test_demand_that_grows_as_was_asked_has_no_width() -> None:
    history = [100 * 1.01**day for day in range(10)]
    found = expected(history, 30, 0.01, 0.9)
    assert found.low == pytest.approx(found.high)
    assert found.middle == pytest.approx(100 * 1.01**39)


@pytest.mark.parametrize("returns", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ahead", [1, 5, 14])
def test_an_interval_covers_at_least_about_what_it_claims_of_walks_and_of_what_returns_to_a_mean(
    returns: float, ahead: int
) -> None:
    """0: a random walk; 1: independent days."""
    rng = random.Random(7)
    inside = 0
    for _ in range(400):
        walk, days = 0.0, []
        for _ in range(28 + ahead):
            walk = (1 - returns) * walk + rng.gauss(0, 0.2)
            days.append(math.exp(walk))
        found = expected(days[:28], ahead, 0.0, 0.9)
        inside += found.low <= days[-1] <= found.high
    assert inside / 400 >= 0.84


@pytest.mark.parametrize(
    ("history", "periods", "growth", "coverage"),
    [
        ([1.0] * 4, 1, 0.0, 0.9),
        ([1.0] * 4 + [0.0], 1, 0.0, 0.9),
        ([1.0] * 5, 0, 0.0, 0.9),
        ([1.0] * 5, 1, 0.0, 1.0),
        ([1.0] * 5, 1, -1.0, 0.9),
    ],
)
def test_what_gives_no_interval_is_refused(history: list[float], periods: int, growth: float, coverage: float) -> None:
    with pytest.raises(InvalidInput):
        expected(history, periods, growth, coverage)
