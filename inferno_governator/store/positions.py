"""How far each stream is stored: what makes a batch that arrives twice count once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from sqlalchemy import select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store.schema import Node, StreamPosition, table

_POSITION, _NODE = table(StreamPosition), table(Node)
# Two parameters each, below both databases' bound of 32,766.
_CHUNK = 10_000
# In the order of the fields of Position.
_VALUES = ("last_sequence", "dropped_samples", "missing_batches", "last_micros")


class StreamNumber(NamedTuple):
    """A stream by the number of its node."""

    node: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Position:
    """The last batch stored of a stream, what is missing up to there, and when its latest sample ended (Unix
    microseconds; 0: there is none)."""

    last_sequence: int = 0
    dropped_samples: int = 0
    missing_batches: int = 0
    last_micros: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch does to a position: whether it is new, and how much more is missing since."""

    position: Position
    stored: bool
    missing_batches: int = 0
    dropped_samples: int = 0
    # From when until when the stream's node lived before this batch and was not measured, if it did.
    unmeasured: tuple[int, int] | None = None


def advance(position: Position, sequence: int, dropped_samples: int, *, consecutive: bool = True) -> Step:
    """Take one batch into account.

    A batch at or before the position has been stored; one that leaves a gap says that those between are lost, unless
    the numbers are times (not ``consecutive``). The node's count of dropped samples never falls within an incarnation.
    """
    if sequence <= position.last_sequence:
        return Step(position, stored=False)
    gap = sequence - position.last_sequence - 1 if consecutive else 0
    dropped = max(0, dropped_samples - position.dropped_samples)
    after = replace(
        position,
        last_sequence=sequence,
        dropped_samples=position.dropped_samples + dropped,
        missing_batches=position.missing_batches + gap,
    )
    return Step(after, stored=True, missing_batches=gap, dropped_samples=dropped)


async def load(connection: AsyncConnection, streams: Iterable[StreamNumber]) -> dict[StreamNumber, Position]:
    """The positions of streams; one never seen is at the beginning."""
    wanted = sorted(set(streams))
    positions = dict.fromkeys(wanted, Position())
    columns = (_POSITION.c.node, _POSITION.c.incarnation)
    for at in range(0, len(wanted), _CHUNK):
        chunk = wanted[at : at + _CHUNK]
        found = await connection.execute(
            select(*columns, *(_POSITION.c[name] for name in _VALUES)).where(tuple_(*columns).in_(chunk))
        )
        for node, incarnation, *rest in found:
            positions[StreamNumber(node, incarnation)] = Position(*rest)
    return positions


async def of_incarnation(connection: AsyncConnection, incarnation: int) -> dict[str, int]:
    """The last sequence stored of one incarnation, by the node's name."""
    found = await connection.execute(
        select(_NODE.c.name, _POSITION.c.last_sequence)
        .join(_NODE, _NODE.c.id == _POSITION.c.node)
        .where(_POSITION.c.incarnation == incarnation)
    )
    return {name: sequence for name, sequence in found.all()}  # noqa: C416 - rows are no pairs to the type checker


async def told_otherwise(connection: AsyncConnection, incarnation: int, since_micros: int) -> set[str]:
    """Nodes of which a batch of another incarnation was stored since a time (Unix microseconds)."""
    found = await connection.execute(
        select(_NODE.c.name)
        .join(_POSITION, _NODE.c.id == _POSITION.c.node)
        .where(_POSITION.c.incarnation != incarnation, _POSITION.c.stored_micros >= since_micros)
    )
    return set(found.scalars())


async def save(connection: AsyncConnection, positions: dict[StreamNumber, Position], now_micros: int) -> None:
    """Write positions in the transaction that stores their batches."""
    if not positions:
        return
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    insert = make(_POSITION)
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=[_POSITION.c.node, _POSITION.c.incarnation],
            set_={name: insert.excluded[name] for name in (*_VALUES, "stored_micros")},
        ),
        [
            {
                "node": stream.node,
                "incarnation": stream.incarnation,
                **asdict(position),
                "stored_micros": now_micros,
            }
            for stream, position in sorted(positions.items(), key=lambda item: item[0])
        ],
    )
