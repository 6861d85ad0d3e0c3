"""The ledger in the store: entries are appended, each with the hash of the one before, and never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.decisions.entry import FIRST, Damage, Draft, Entry, Kind, Verification, chained
from inferno_governator.store.decision_schema import LedgerEntry, LedgerHead
from inferno_governator.store.schema import table

_ENTRY, _HEAD = table(LedgerEntry), table(LedgerHead)
# Entries that are held at once.
_PIECE = 500


@dataclass(frozen=True, slots=True)
class Integrity:
    """Whether the chain holds: how many entries there are, the hash of the last one, and what is damaged, if any is."""

    count: int
    head: str
    damage: Damage | None


async def append(connection: AsyncConnection, drafts: Sequence[Draft], now_micros: int) -> list[Entry]:
    """Write entries at the end, inside a transaction that writes (there is one at a time, so numbers have no gap)."""
    count, previous = await _head(connection)
    entries: list[Entry] = []
    for draft in drafts:
        entry = chained(draft, count + 1, now_micros, previous)
        entries.append(entry)
        count, previous = entry.number, entry.hash
    if entries:
        await connection.execute(_ENTRY.insert(), [{**asdict(each), "kind": each.kind.value} for each in entries])
        if len(entries) == count:
            await connection.execute(_HEAD.insert(), {"id": 1, "count": count, "hash": previous})
        else:
            await connection.execute(update(_HEAD).values(count=count, hash=previous))
    return entries


async def read(
    connection: AsyncConnection,
    *,
    kinds: Collection[Kind] = (),
    decision: int = 0,
    before: int = 0,
    limit: int = 1000,
) -> list[Entry]:
    """Entries, the newest first: of some kinds, about one decision, below a number; what is empty or 0 is any."""
    wanted = select(_ENTRY).order_by(_ENTRY.c.number.desc()).limit(limit)
    if kinds:
        wanted = wanted.where(_ENTRY.c.kind.in_([each.value for each in kinds]))
    if decision:
        wanted = wanted.where(_ENTRY.c.decision == decision)
    if before:
        wanted = wanted.where(_ENTRY.c.number < before)
    return [_entry(row) for row in (await connection.execute(wanted)).mappings()]


async def follow(
    connection: AsyncConnection, after: int = 0, kinds: Collection[Kind] = ()
) -> AsyncIterator[list[Entry]]:
    """Entries above a number, the oldest first, in pieces that bound memory."""
    while True:
        wanted = select(_ENTRY).where(_ENTRY.c.number > after).order_by(_ENTRY.c.number).limit(_PIECE)
        if kinds:
            wanted = wanted.where(_ENTRY.c.kind.in_([each.value for each in kinds]))
        piece = [_entry(row) for row in (await connection.execute(wanted)).mappings()]
        if not piece:
            return
        yield piece
        after = piece[-1].number


async def verify(connection: AsyncConnection) -> Integrity:
    """Follow the whole chain."""
    count, head = await _head(connection)
    verification = Verification()
    async for piece in follow(connection):
        verification.follow(piece)
    return Integrity(count, head, verification.end(count, head))


async def _head(connection: AsyncConnection) -> tuple[int, str]:
    row = (await connection.execute(select(_HEAD.c.count, _HEAD.c.hash))).first()
    return (0, FIRST) if row is None else (row[0], row[1])


def _entry(row: Any) -> Entry:
    return Entry(**{**row, "kind": Kind(row["kind"])})
