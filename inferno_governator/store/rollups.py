"""Minute roll-ups: samples folded into sums, and the sums added to what the database holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from sqlalchemy import Column, ColumnElement, Dialect, Insert, Table, case
from sqlalchemy.dialects import postgresql, sqlite

from inferno_governator.money import apportion

MINUTE_MICROS = 60_000_000
# Sums stop here instead of overflowing: 32,000 rows that reached it still add up within 64 bits.
CEILING = 2**48

Row = tuple[int, ...]


class Fold:
    """Adds points up by minute and series.

    A point is ``(end, window, sums..., maxima...)`` with ``maxima`` columns at its end. One whose window lies in
    several minutes is split by time, in whole numbers that add up to it.
    """

    def __init__(self, maxima: int) -> None:
        self._maxima = maxima
        # (minute, series) to the window's sum, the other sums, and the maxima.
        self._rows: dict[tuple[int, int], list[int]] = {}

    def add(self, series: int, points: Sequence[Row]) -> None:
        """Fold points of one series in; there is at least one."""
        columns = list(zip(*points, strict=True))
        ends, windows = columns[0], columns[1]
        minute = (max(ends) - 1) // MINUTE_MICROS
        if min(ends) - max(windows) >= minute * MINUTE_MICROS:
            self._add(minute, series, columns)
            return
        by_minute: dict[int, list[Row]] = {}
        for point in points:
            minute = (point[0] - 1) // MINUTE_MICROS
            if point[0] - point[1] >= minute * MINUTE_MICROS:
                by_minute.setdefault(minute, []).append(point)
                continue
            for part in split_by_minute(point, self._maxima):
                by_minute.setdefault((part[0] - 1) // MINUTE_MICROS, []).append(part)
        for minute, parts in by_minute.items():
            self._add(minute, series, list(zip(*parts, strict=True)))

    def _add(self, minute: int, series: int, columns: Sequence[tuple[int, ...]]) -> None:
        at_maxima = len(columns) - self._maxima
        new = [*map(sum, columns[1:at_maxima]), *map(max, columns[at_maxima:])]
        old = self._rows.get((minute, series))
        if old is not None:
            at_maxima -= 1
            new = [
                *(a + b for a, b in zip(old[:at_maxima], new[:at_maxima], strict=True)),
                *map(max, old[at_maxima:], new[at_maxima:]),
            ]
        self._rows[minute, series] = new

    def rows(self) -> list[Row]:
        """``(minute, series, window, sums..., maxima...)`` for each, in the order of minute and series."""
        return [(*key, *(min(value, CEILING) for value in self._rows[key])) for key in sorted(self._rows)]


def split_by_minute(point: Row, maxima: int) -> list[Row]:
    """A point as several, each within one minute; sums are split by time and maxima are repeated.

    >>> split_by_minute((120_000_001, 60_000_001, 2), 0)
    [(120000000, 60000000, 2), (120000001, 1, 0)]
    """
    end, window = point[0], point[1]
    edges = [end - window]
    while edges[-1] < end:
        edges.append(min(end, (edges[-1] // MINUTE_MICROS + 1) * MINUTE_MICROS))
    lengths = [after - before for before, after in pairwise(edges)]
    at_maxima = len(point) - maxima
    parts = zip(*(apportion(value, lengths) for value in point[2:at_maxima]), strict=True)
    return [
        (edge, length, *sums, *point[at_maxima:]) for edge, length, sums in zip(edges[1:], lengths, parts, strict=True)
    ]


def upsert(dialect: Dialect, target: Table, sums: Iterable[str], maxima: Iterable[str] = ()) -> Insert:
    """``INSERT`` of rows that adds to, or raises, what is there under the same primary key."""
    make = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    insert = make(target)
    new = insert.excluded
    changes = {name: _capped_sum(target.c[name], new[name]) for name in sums}
    changes |= {name: case((new[name] > target.c[name], new[name]), else_=target.c[name]) for name in maxima}
    return insert.on_conflict_do_update(index_elements=list(target.primary_key), set_=changes)


def _capped_sum(old: Column[int], new: ColumnElement[int]) -> ColumnElement[int]:
    return case((old + new > CEILING, CEILING), else_=old + new)
