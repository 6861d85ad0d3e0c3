"""What callers asked: added to its minute, hour and day, and read back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.sharing import CallerUse
from inferno_governator.requests import BUCKETS, RequestKey, RequestPoint, RequestUse
from inferno_governator.store.names import Names
from inferno_governator.store.rollups import CEILING, Fold, Row, upsert
from inferno_governator.store.schema import RequestDay, RequestHour, RequestMinute, RequestSeries, table

_SERIES = table(RequestSeries)
# Every level by its length in minutes, the longest first.
LEVELS: Mapping[int, Table] = {1440: table(RequestDay), 60: table(RequestHour), 1: table(RequestMinute)}
_COLUMNS = [column.name for column in table(RequestMinute).columns]
_SUMS = _COLUMNS[2:]
# Where what a caller's use needs lies in a row of a minute.
_USE = [_COLUMNS.index(name) for name in CallerUse._fields[CallerUse._fields.index("requests") :]]
# Rows held at once.
_ROWS = 5_000


async def write(
    connection: AsyncConnection,
    names: Names,
    draft: Names,
    counted: Iterable[Mapping[RequestKey, Sequence[RequestPoint]]],
) -> list[CallerUse]:
    """Add what proxies counted to every level, within the connection's transaction; returns it by minute."""
    given = [each for each in counted if each]
    if not given:
        return []
    numbers = await names.number_requests(connection, (key for each in given for key in each), draft)
    fold = Fold(maxima=0)
    for each in given:
        for key, points in each.items():
            fold.add(numbers[key], points)
    # The window's length, which a fold keeps, says nothing of requests.
    minutes = [(minute, series, *sums) for minute, series, _, *sums in fold.rows()]
    for length, target in LEVELS.items():
        rows = [dict(zip(_COLUMNS, row, strict=True)) for row in by_stretch(minutes, length)]
        await connection.execute(upsert(connection.dialect, target, _SUMS), rows)
    keys = {number: key for key, number in numbers.items()}
    return [CallerUse(row[0], *keys[row[1]], *(row[at] for at in _USE)) for row in minutes]


def by_stretch(rows: Iterable[Row], length: int) -> list[Row]:
    """Rows of minutes added up to stretches of so many minutes, in the order of stretch and series.

    >>> by_stretch([(59, 7, 1, 2), (60, 7, 3, 4), (119, 7, 5, 6)], 60)
    [(0, 7, 1, 2), (60, 7, 8, 10)]
    """
    sums: dict[tuple[int, int], list[int]] = {}
    for minute, series, *counts in rows:
        key = (minute - minute % length, series)
        sums[key] = [a + b for a, b in zip(sums[key], counts, strict=True)] if key in sums else counts
    return [(*key, *(min(count, CEILING) for count in sums[key])) for key in sorted(sums)]


def stretches(start: int, end: int) -> list[tuple[int, int, int]]:
    """``(length, start, end)``: whole days, then hours, then minutes that cover the minutes from start until before
    end, each once, in order of time.

    >>> stretches(1439, 1440 + 61)
    [(1, 1439, 1440), (60, 1440, 1500), (1, 1500, 1501)]
    """

    def cover(start: int, end: int, lengths: Sequence[int]) -> list[tuple[int, int, int]]:
        if start >= end:
            return []
        length, *finer = lengths
        first, last = -(-start // length) * length, end // length * length
        if first >= last:
            return cover(start, end, finer)
        return [*cover(start, first, finer), (length, first, last), *cover(last, end, finer)]

    return cover(start, end, tuple(LEVELS))


async def read(connection: AsyncConnection, start_minute: int, end_minute: int) -> AsyncIterator[list[RequestUse]]:
    """What was asked from one minute until before another, in chunks, in order of time."""
    for length, start, end in stretches(start_minute, end_minute):
        source = LEVELS[length]
        found = await connection.stream(
            select(source.c.minute, *(_SERIES.c[name] for name in RequestKey._fields), *source.columns[2:])
            .join(_SERIES, _SERIES.c.id == source.c.series)
            .where(source.c.minute >= start, source.c.minute < end)
            .order_by(source.c.minute, source.c.series)
        )
        async for rows in found.partitions(_ROWS):
            yield [RequestUse._make((row[0], length, *row[1:-BUCKETS], tuple(row[-BUCKETS:]))) for row in rows]
