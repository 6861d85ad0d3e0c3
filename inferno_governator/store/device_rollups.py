"""The use of devices by hour and day: made from minutes and hours by the database, when the books are settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Select,
    Table,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store.device_schema import DeviceDay, DeviceHour, DeviceMinute
from inferno_governator.store.requests import by_stretch
from inferno_governator.store.rollups import Row, upsert
from inferno_governator.store.schema import Series, table

HOUR, DAY = 60, 1440
_SERIES, _MINUTES, _HOURS = table(Series), table(DeviceMinute), table(DeviceHour)
LEVELS: Mapping[int, Table] = {DAY: table(DeviceDay), HOUR: _HOURS, 1: _MINUTES}
_ECC = ("ecc_corrected", "ecc_uncorrected")
_NAMES = [column.name for column in _HOURS.columns]
# Of minutes: the counters of memory errors are maxima there, and what they grew by is a sum in hours and days.
MAXIMA = [column.name for column in _MINUTES.columns if column.name.startswith(("max_", "highest_"))]
SUMS = [column.name for column in _MINUTES.columns][2 : -len(MAXIMA)]
_MAXIMA = [name for name in _NAMES if name.startswith("max_")]
_SUMS = [*SUMS, *_ECC]
# Where the columns of a device's state lie in its minute, between and after those of its use.
_USE_SUMS, _STATE_SUMS = 6, 7
_NO_STATE = ((0,) * _STATE_SUMS, (0, 0, -1, -1))
# How many minutes before an hour tell where its counters of errors began.
_BEFORE = 5


def joined(uses: Sequence[Row], states: Sequence[Row]) -> list[Row]:
    """Rows of minutes from what was folded of devices' use, and of the state of those that tell it.

    >>> joined([(0, 7, 1, 2, 3, 4, 5, 6)], [(0, 7, 1, *range(10, 17), *range(20, 24))])
    [(0, 7, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 5, 6, 20, 21, 22, 23)]
    """
    by_key = {row[:2]: (row[3 : 3 + _STATE_SUMS], row[3 + _STATE_SUMS :]) for row in states}
    rows = []
    for use in uses:
        sums, maxima = by_key.get(use[:2], _NO_STATE)
        rows.append((*use[:_USE_SUMS], *sums, *use[_USE_SUMS:], *maxima))
    return rows


async def settle_hour(connection: AsyncConnection, minute: int, nodes: Sequence[int]) -> None:
    """Make the rows of the devices of some nodes in one hour anew from its minutes."""
    chosen = _MINUTES.c.series.in_(_devices_of(nodes))
    seen = select(
        _MINUTES,
        *(_grown(_MINUTES.c[f"highest_{name}"]).label(name) for name in _ECC),
    ).where(_MINUTES.c.minute >= minute - _BEFORE, _MINUTES.c.minute < minute + HOUR, chosen)
    minutes = seen.subquery()
    await _replace(connection, HOUR, minute, nodes, _added_up(minutes.c, minute).where(minutes.c.minute >= minute))


async def settle_day(connection: AsyncConnection, minute: int, nodes: Sequence[int]) -> None:
    """The same in one day, from its hours."""
    within = and_(_HOURS.c.minute >= minute, _HOURS.c.minute < minute + DAY, _HOURS.c.series.in_(_devices_of(nodes)))
    await _replace(connection, DAY, minute, nodes, _added_up(_HOURS.c, minute).where(within))


async def add_late(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Add minutes of sealed hours to their hours; what memory errors came up then is not known."""
    uses = _by_hour(rows)
    if uses:
        await connection.execute(upsert(connection.dialect, _HOURS, _SUMS, _MAXIMA), uses)


def _by_hour(rows: Sequence[Row]) -> list[dict[str, int]]:
    at = 2 + len(SUMS)
    hours = {row[:2]: row for row in by_stretch([row[:at] for row in rows], HOUR)}
    most: dict[tuple[int, int], tuple[int, ...]] = {}
    for row in rows:
        key = (row[0] - row[0] % HOUR, row[1])
        values = row[at : at + len(_MAXIMA)]
        most[key] = tuple(map(max, most.get(key, values), values))
    return [dict(zip(_NAMES, (*row, *most[row[0], row[1]], *(0 for _ in _ECC)), strict=True)) for row in hours.values()]


def _grown(counter: Column[int]) -> ColumnElement[int]:
    """By how much a counter grew since the minute before; one that is lower than before began again from zero."""
    before = func.lag(counter).over(partition_by=_MINUTES.c.series, order_by=_MINUTES.c.minute)
    return case(
        (before.is_(None), 0), (before < 0, 0), (counter < 0, 0), (counter >= before, counter - before), else_=counter
    )


def _added_up(columns: Any, minute: int) -> Select[Any]:
    sums = [func.sum(columns[name]).label(name) if name in _SUMS else func.max(columns[name]) for name in _NAMES[2:]]
    return select(literal(minute, BigInteger), columns["series"], *sums).group_by(columns["series"])


async def _replace(
    connection: AsyncConnection, length: int, minute: int, nodes: Sequence[int], made: Select[Any]
) -> None:
    level = LEVELS[length]
    await connection.execute(delete(level).where(level.c.minute == minute, level.c.series.in_(_devices_of(nodes))))
    await connection.execute(insert(level).from_select(_NAMES, made))


def _devices_of(nodes: Sequence[int]) -> Select[tuple[int]]:
    return select(_SERIES.c.id).where(_SERIES.c.node.in_(nodes), _SERIES.c.version == "", _SERIES.c.kind != "model")
