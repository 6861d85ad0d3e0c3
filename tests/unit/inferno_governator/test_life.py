from __future__ import annotations

import pytest

from inferno_governator.analysis.life import unmeasured

SECOND = 1_000_000
HOUR = 3600 * SECOND
NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("silence", "lost", "billed"),
    [
        (-5 * SECOND, False, False),
        (SECOND // 2, False, False),
        (30 * SECOND, False, True),
        (HOUR // 6, False, True),
        (HOUR, False, False),
        (HOUR, True, True),
        (25 * HOUR, True, False),
    ],
)
def test_silence_is_billed_within_bounds_that_are_wider_where_something_was_lost(
    silence: int, lost: bool, billed: bool
) -> None:
    found = unmeasured(1, NOW, NOW + silence, lost=lost)
    assert found == ((NOW, NOW + silence) if billed else None)


def test_a_start_is_billed_where_the_lifes_number_is_its_time() -> None:
    assert unmeasured((NOW - 900 * SECOND) * 1000, 0, NOW, lost=False) == (NOW - 900 * SECOND, NOW)
    assert unmeasured((NOW - 2 * HOUR) * 1000, 0, NOW, lost=True) is None
    assert unmeasured(7, 0, NOW, lost=True) is None
