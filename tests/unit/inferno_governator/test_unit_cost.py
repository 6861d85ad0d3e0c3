from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.unit_cost import nanos_per, rounded, unit_for

_amounts = st.lists(st.integers(-(10**12), 10**12), max_size=20)
_units = st.sampled_from([1, 10, 100, 1_000, 10_000])


@given(_amounts, _units)
def test_rounded_lines_add_up_to_the_rounded_total(amounts: list[int], unit: int) -> None:
    shown = rounded(amounts, unit)
    assert abs(sum(shown) - sum(amounts)) * 2 <= unit
    assert all(each % unit == 0 for each in shown)


@given(_amounts, _units)
def test_no_line_moves_by_a_whole_unit(amounts: list[int], unit: int) -> None:
    assert all(abs(shown - amount) < unit for shown, amount in zip(rounded(amounts, unit), amounts, strict=True))


@given(st.integers(0, 10**15), st.integers(1, 10**12), st.sampled_from([1, 1000]))
def test_a_unit_cost_is_within_half_a_billionth(cost: int, count: int, per: int) -> None:
    found = nanos_per(cost, count, per)
    assert found is not None
    assert abs(found - Fraction(cost * per * 1000, count)) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("total", "unit"), [(0, 10_000), (999, 1), (10_000, 10), (-10_000_000, 10_000), (10**12, 10_000)]
)
def test_a_total_shows_four_digits_or_all_it_has(total: int, unit: int) -> None:
    assert unit_for(total) == unit
