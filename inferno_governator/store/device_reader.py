"""Read how devices were used: days from day rows, hours from hour rows, and what is not settled yet from minutes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, cast, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.device_use import DeviceTotal, share, together
from inferno_governator.store import books
from inferno_governator.store.device_rollups import DAY, HOUR, LEVELS
from inferno_governator.store.requests import stretches
from inferno_governator.store.schema import Node, Series, table

_NODE, _SERIES = table(Node), table(Series)
_COUNTS = DeviceTotal._fields[3:]
_ECC = ("ecc_corrected", "ecc_uncorrected")
# By node, kind and name.
Found = dict[tuple[str, str, str], DeviceTotal]


async def read(connection: AsyncConnection, start: int, end: int, node: str = "") -> list[DeviceTotal]:
    """What each device did from one minute until before another, by node and name; an empty node is all.

    The database adds up what is settled and what is not, so that this is as many rows as there are devices. Memory
    errors are counted when an hour is settled.
    """
    minutes_from, hours_from = [await books.sealed(connection, length) for length in (1, HOUR)]
    found: Found = {}
    for length, first, last in stretches(start, end):
        if length == DAY:
            parts = [_days(first, last), _hours(first, last, _in_open(HOUR, DAY)), _minutes(first, last, True)]
        else:
            # Where the finer level is gone the coarser one is all there is.
            finest = minutes_from if length == 1 else 0
            await _take_shares(connection, found, DAY, (first, min(last, hours_from)), node)
            await _take_shares(connection, found, HOUR, (max(first, hours_from), min(last, finest)), node)
            begin = max(first, hours_from, finest)
            parts = [_minutes(begin, last, length > 1)]
            parts += [_hours(begin, last)] if length > 1 else []
        for part in parts:
            _take(found, [DeviceTotal(*row) for row in await connection.execute(_of(node, part))])
    return [found[key] for key in sorted(found)]


def _take(found: Found, totals: Iterable[DeviceTotal]) -> None:
    for total in totals:
        before = found.get(total[:3])
        found[total[:3]] = together(before, total) if before else total


async def _take_shares(
    connection: AsyncConnection, found: Found, length: int, stretch: tuple[int, int], node: str
) -> None:
    """Take the part of what a coarser level has, by time."""
    first, last = stretch
    if first >= last:
        return
    level = LEVELS[length]
    within = and_(level.c.minute >= first - first % length, level.c.minute < last)
    for minute, *row in await connection.execute(_of(node, _added_up(length, within, level.c.minute))):
        total = DeviceTotal(*row)
        _take(found, [share(total, max(0, first - minute), min(length, last - minute), length)])


def _of(node: str, wanted: Select[Any]) -> Select[Any]:
    return wanted.where(_NODE.c.name == node) if node else wanted


def _days(first: int, last: int) -> Select[Any]:
    return _added_up(DAY, and_(_within(DAY, first, last), ~_in_open(DAY, DAY)))


def _hours(first: int, last: int, chosen: ColumnElement[bool] | None = None) -> Select[Any]:
    settled = and_(_within(HOUR, first, last), ~_in_open(HOUR, HOUR))
    return _added_up(HOUR, settled if chosen is None else and_(settled, chosen))


def _minutes(first: int, last: int, only_open: bool) -> Select[Any]:
    within = _within(1, first, last)
    return _added_up(1, and_(within, _in_open(1, HOUR)) if only_open else within)


def _within(length: int, first: int, last: int) -> ColumnElement[bool]:
    level = LEVELS[length]
    return and_(level.c.minute >= first, level.c.minute < last)


def _in_open(length: int, opened: int) -> ColumnElement[bool]:
    """Whether a row of a level lies in an open hour or day of its node."""
    marks, minute = books.OPEN[opened], LEVELS[length].c.minute
    return exists().where(marks.c.node == _SERIES.c.node, marks.c.minute == minute - minute % opened)


def _added_up(length: int, chosen: ColumnElement[bool], *apart: ColumnElement[int]) -> Select[Any]:
    level = LEVELS[length]
    names = [name for name in _COUNTS if length > 1 or name not in _ECC]
    made = [func.max(level.c[name]) if name.startswith("max_") else func.sum(level.c[name]) for name in names]
    subject = (_NODE.c.name, _SERIES.c.kind, _SERIES.c.name)
    sums = [cast(each, BigInteger) for each in made]
    columns: list[ColumnElement[Any]] = [*apart, *subject, *sums]
    return (
        select(*columns)
        .select_from(level)
        .join(_SERIES, _SERIES.c.id == level.c.series)
        .join(_NODE, _NODE.c.id == _SERIES.c.node)
        .where(chosen)
        .group_by(*apart, *subject)
    )
