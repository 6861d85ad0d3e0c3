from __future__ import annotations

import pytest

from inferno_governator.billing import Period, period
from inferno_runtime.errors import InvalidInput


def test_a_period_is_the_last_hour_unless_it_is_given() -> None:
    assert period(None, None, now=7_199.5) == Period(60, 120)


def test_the_start_is_rounded_down_and_the_end_up_to_the_minute() -> None:
    assert period(119, 121, now=0) == Period(1, 3)


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (120, 120, "empty"),
        (125, 121, "before it begins"),
        (600, None, "before it begins"),
        (-1, 5, "start is outside"),
        (1, 10**15, "end is outside"),
    ],
)
def test_an_impossible_period_is_refused(start: int | None, end: int | None, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        period(start, end, now=0.0)
