from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.resources.usage_stats import BOUNDS, below


@given(st.integers(0, 200_000), st.sampled_from(BOUNDS))
def test_a_number_is_below_a_bound_when_its_expression_says_so(number: int, bound: int) -> None:
    assert bool(re.fullmatch(below(bound), str(number))) == (number < bound)


@pytest.mark.parametrize("bound", BOUNDS)
def test_expressions_hold_on_both_sides_of_their_bound(bound: int) -> None:
    assert re.fullmatch(below(bound), str(bound - 1))
    assert not re.fullmatch(below(bound), str(bound))
