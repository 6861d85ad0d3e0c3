from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.money import MICROS_PER_HOUR, apportion, metered

_prices = st.integers(0, 10**12)
_moments = st.integers(0, 2 * 10**15)


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**15), min_size=1, max_size=20))
def test_parts_add_up_to_the_amount_and_none_is_negative(amount: int, weights: list[int]) -> None:
    parts = apportion(amount, weights)
    assert sum(parts) == amount
    assert min(parts) >= 0


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any))
def test_each_part_is_within_one_unit_of_its_exact_share(amount: int, weights: list[int]) -> None:
    total = sum(weights)
    for part, weight in zip(apportion(amount, weights), weights, strict=True):
        assert abs(part * total - amount * weight) < total


@given(_prices, _moments, st.lists(st.integers(0, 10**10), max_size=10))
def test_the_costs_of_adjoining_stretches_add_up_to_the_cost_of_the_whole(
    price: int, start: int, lengths: list[int]
) -> None:
    pieces, at = 0, start
    for length in lengths:
        pieces += metered(price, at, length)
        at += length
    assert pieces == metered(price, start, at - start)


@given(_prices, _moments)
def test_an_hour_costs_its_price_whenever_it_begins(price: int, start: int) -> None:
    assert metered(price, start, MICROS_PER_HOUR) == price
