"""Forget what is old, a piece at a time, so that storing never waits long."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store.alert_schema import AlertRow, AlertTold
from inferno_governator.store.rollups import MINUTE_MICROS
from inferno_governator.store.schema import (
    DeviceMinute,
    DeviceSample,
    ModelMinute,
    ModelSample,
    NodeMinute,
    ProviderNotice,
    RequestMinute,
    StreamPosition,
    table,
)

# Rows for one transaction: about 50 ms of SQLite.
PIECE = 20_000


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in microseconds: samples as they arrived, and minute roll-ups."""

    raw_micros: int
    minute_micros: int


@dataclass(frozen=True, slots=True)
class Horizon:
    """Rows of ``table`` whose ``column`` is less than ``before`` are old."""

    table: Table
    column: Column[int]
    before: int


def horizons(retention: Retention, now_micros: int) -> list[Horizon]:
    """What is old at a moment (Unix microseconds)."""
    raw = now_micros - retention.raw_micros
    kept = now_micros - retention.minute_micros
    old = [Horizon(each, each.c.time_micros, raw) for each in (table(ModelSample), table(DeviceSample))]
    old += [
        Horizon(each, each.c.minute, kept // MINUTE_MICROS)
        for each in (table(ModelMinute), table(DeviceMinute), table(NodeMinute), table(RequestMinute))
    ]
    # A node that comes back with batches of a life this old would be refused for their age.
    stored = (table(StreamPosition), table(ProviderNotice))
    old += [Horizon(each, each.c.stored_micros, kept) for each in stored]
    # An alert that lasts has no end, and so is never old.
    ended, told = table(AlertRow), table(AlertTold)
    return [*old, Horizon(ended, ended.c.end_micros, kept), Horizon(told, told.c.told_micros, kept)]


async def forget(connection: AsyncConnection, horizon: Horizon) -> int:
    """Delete one piece of what is old, oldest first; returns how many rows went (fewer than a piece: it is done)."""
    column = horizon.column
    last = select(column).where(column < horizon.before).order_by(column).offset(PIECE - 1).limit(1)
    limit = (await connection.execute(last)).scalar()
    old = column < horizon.before if limit is None else column <= limit
    return (await connection.execute(delete(horizon.table).where(old))).rowcount
