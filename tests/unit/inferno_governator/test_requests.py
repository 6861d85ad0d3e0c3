from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.requests import BUCKETS, LATENCY_BOUNDS_MICROS, quantile_micros, slower_than
from inferno_governator.store.requests import by_stretch, stretches

_MINUTES = st.integers(0, 5000)
_HISTOGRAMS = st.tuples(*[st.integers(0, 1000)] * BUCKETS)


@given(_MINUTES, _MINUTES)
def test_stretches_cover_every_minute_once_and_in_order(start: int, end: int) -> None:
    covered = [minute for _, first, last in stretches(start, end) for minute in range(first, last)]
    assert covered == list(range(start, end))
    assert all(first % length == last % length == 0 for length, first, last in stretches(start, end))


@given(st.lists(st.tuples(_MINUTES, st.integers(1, 3), st.integers(0, 10**9))))
def test_what_is_added_up_by_stretch_keeps_its_sum(rows: list[tuple[int, int, int]]) -> None:
    for length in (1, 60, 1440):
        assert sum(row[2] for row in by_stretch(rows, length)) == sum(row[2] for row in rows)


@given(_HISTOGRAMS)
def test_no_fewer_requests_are_slower_than_a_shorter_time(histogram: tuple[int, ...]) -> None:
    slower = [slower_than(histogram, bound) for bound in (0, *LATENCY_BOUNDS_MICROS)]
    assert slower == sorted(slower, reverse=True)
    assert (slower[0], slower[-1]) == (sum(histogram), histogram[-1])


@given(_HISTOGRAMS, st.floats(0.01, 1))
def test_a_quantile_has_its_share_of_the_requests_below_it(histogram: tuple[int, ...], share: float) -> None:
    bound = quantile_micros(histogram, share)
    if bound and bound != LATENCY_BOUNDS_MICROS[-1]:
        assert sum(histogram) - slower_than(histogram, bound) >= share * sum(histogram)
