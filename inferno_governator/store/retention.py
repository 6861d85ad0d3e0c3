"""Forget what is old, a piece at a time, so that storing never waits long."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Column, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store import books, hypertables
from inferno_governator.store.alert_schema import AlertRow, AlertTold
from inferno_governator.store.device_faults import DeviceFault
from inferno_governator.store.device_schema import DeviceDay, DeviceHour, DeviceMinute
from inferno_governator.store.item_schema import ItemDay, ItemHour
from inferno_governator.store.items import DAY, HOUR
from inferno_governator.store.rollups import MINUTE_MICROS
from inferno_governator.store.schema import (
    DeviceSample,
    ModelMinute,
    ModelSample,
    NodeMinute,
    ProviderNotice,
    RequestDay,
    RequestHour,
    RequestMinute,
    StreamPosition,
    table,
)

# Rows for one transaction: about 50 ms of SQLite.
PIECE = 20_000


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in microseconds: samples as they arrived, and roll-ups by minute, hour and day."""

    raw_micros: int
    minute_micros: int
    hour_micros: int
    day_micros: int


@dataclass(frozen=True, slots=True)
class Horizon:
    """Rows of ``table`` whose ``column`` is less than ``before`` are old. ``seals`` is the level of roll-ups, by its
    length in minutes, that loses them: it is sealed first, and then they are old up to there. None: it is no level of
    the books."""

    table: Table
    column: Column[int]
    before: int
    seals: int | None = None


def horizons(retention: Retention, now_micros: int) -> list[Horizon]:
    """What is old at a moment (Unix microseconds). Roll-ups go by whole stretches of the next coarser level."""
    raw = now_micros - retention.raw_micros
    kept = now_micros - retention.hour_micros
    minutes, hours, days = (
        (now_micros - each) // MINUTE_MICROS
        for each in (retention.minute_micros, retention.hour_micros, retention.day_micros)
    )
    minutes, hours, days = minutes - minutes % HOUR, hours - hours % DAY, days - days % DAY
    old = [Horizon(each, each.c.time_micros, raw) for each in (table(ModelSample), table(DeviceSample))]
    old += [Horizon(each, each.c.minute, minutes, 1) for each in (table(ModelMinute), table(DeviceMinute))]
    old += [Horizon(each, each.c.minute, minutes, 1) for each in (table(RequestMinute),)]
    # What is missing has no coarser level, and few rows.
    old += [Horizon(each, each.c.minute, hours) for each in (table(NodeMinute),)]
    old += [
        *(Horizon(each, each.c.minute, hours, HOUR) for each in (table(ItemHour), table(DeviceHour))),
        Horizon(table(RequestHour), table(RequestHour).c.minute, hours),
    ]
    old += [Horizon(each, each.c.minute, days) for each in (table(ItemDay), table(DeviceDay), table(RequestDay))]
    # A node that comes back with batches of a life this old would be refused for their age.
    stored = (table(StreamPosition), table(ProviderNotice))
    old += [Horizon(each, each.c.stored_micros, kept) for each in stored]
    old.append(Horizon(table(DeviceFault), table(DeviceFault).c.last_micros, kept))
    # An alert that lasts has no end, and so is never old.
    ended, told = table(AlertRow), table(AlertTold)
    return [*old, Horizon(ended, ended.c.end_micros, kept), Horizon(told, told.c.told_micros, kept)]


async def sealed(connection: AsyncConnection, horizon: Horizon) -> Horizon:
    """The horizon once its level is sealed: nothing beyond goes, and nothing before is made anew."""
    if horizon.seals is None:
        return horizon
    return replace(horizon, before=await books.seal(connection, horizon.seals, horizon.before), seals=None)


async def forget(connection: AsyncConnection, horizon: Horizon) -> int:
    """Delete one piece of what is old, oldest first; returns how many rows went (fewer than a piece: it is done). Of a
    hypertable, all chunks that are old as a whole, and how many those were."""
    chunks = await hypertables.drop_old(connection, horizon.table, horizon.before)
    if chunks is not None:
        return chunks
    column = horizon.column
    last = select(column).where(column < horizon.before).order_by(column).offset(PIECE - 1).limit(1)
    limit = (await connection.execute(last)).scalar()
    old = column < horizon.before if limit is None else column <= limit
    return (await connection.execute(delete(horizon.table).where(old))).rowcount
