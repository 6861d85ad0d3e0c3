from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.store.rollups import CEILING, MINUTE_MICROS, Fold, Row, split_by_minute

_NOON = 29_000_000 * MINUTE_MICROS


@st.composite
def _points(draw: st.DrawFn) -> Row:
    end = _NOON + draw(st.integers(1, 5 * MINUTE_MICROS))
    window = draw(st.one_of(st.integers(1, 1_000_000), st.integers(1, 60 * MINUTE_MICROS)))
    return (end, window, draw(st.integers(0, 10**9)), draw(st.integers(0, 10**9)), draw(st.integers(0, 100)))


@given(_points())
def test_the_parts_of_a_sample_add_up_to_it_and_each_lies_in_one_minute(point: Row) -> None:
    parts = split_by_minute(point, maxima=1)
    assert [sum(column) for column in zip(*parts, strict=True)][1:4] == list(point[1:4])
    assert all(part[4] == point[4] for part in parts)
    assert all((end - window) // MINUTE_MICROS == (end - 1) // MINUTE_MICROS for end, window, *_ in parts)
    assert parts[-1][0] == point[0]


@given(st.lists(st.tuples(st.integers(1, 2), st.lists(_points(), min_size=1, max_size=5)), max_size=6))
def test_what_is_folded_adds_up_whatever_the_order_and_the_grouping(calls: list[tuple[int, list[Row]]]) -> None:
    together, alone = Fold(maxima=1), Fold(maxima=1)
    for series, points in calls:
        together.add(series, points)
    for series, points in reversed(calls):
        for point in points:
            alone.add(series, [point])
    assert together.rows() == alone.rows()
    for at, column in ((2, 1), (3, 2), (4, 3)):
        assert sum(row[at] for row in together.rows()) == sum(p[column] for _, points in calls for p in points)
    highest = max((p[4] for _, points in calls for p in points), default=0)
    assert max((row[5] for row in together.rows()), default=0) == highest


def test_a_window_that_ends_on_the_minute_belongs_to_the_minute_before() -> None:
    fold = Fold(maxima=0)
    fold.add(7, [(_NOON, 1_000_000, 3)])
    assert fold.rows() == [(29_000_000 - 1, 7, 1_000_000, 3)]


def test_sums_stop_at_the_ceiling() -> None:
    fold = Fold(maxima=0)
    fold.add(7, [(_NOON, 1, CEILING), (_NOON, 1, CEILING)])
    assert fold.rows()[0][3] == CEILING
