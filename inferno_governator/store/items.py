"""Items on disk, by hour and day: what they are of has a number, and so has the price they were billed at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Table, cast, func, literal, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.cost import sums_of
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.store.item_schema import ItemDay, ItemFacts, ItemHour, ItemSeries
from inferno_governator.store.rollups import upsert
from inferno_governator.store.schema import Node, table
from inferno_governator.usage import Facts

HOUR, DAY = 60, 1440
_NODE, _SERIES, _FACTS = table(Node), table(ItemSeries), table(ItemFacts)
LEVELS: Mapping[int, Table] = {HOUR: table(ItemHour), DAY: table(ItemDay)}
_COLUMNS = [column.name for column in table(ItemHour).columns]
SUMS = _COLUMNS[3:]
_PURPOSES = (Purpose.WORK, Purpose.IDLE, Purpose.OVERHEAD)
# Rows held at once.
_ROWS = 10_000
# Six parameters each, below both databases' bound of 32,766.
_CHUNK = 5_000

Key = tuple[Any, ...]
# What items may be told apart by, besides their purpose, their facts and their time.
APART = frozenset({"node", "model", "version", "team", "key"})


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some nodes, by their numbers: only these (None is every one), without those."""

    only: Set[int] | None = None
    but: Set[int] = frozenset()

    def __contains__(self, node: int) -> bool:
        return node not in self.but and (self.only is None or node in self.only)

    def without(self, nodes: Set[int]) -> Chosen:
        """The same less some."""
        return Chosen(self.only, self.but | nodes)

    @property
    def many(self) -> bool:
        """True for more than a statement may name."""
        return len(self.but) + len(self.only or ()) > 6 * _CHUNK

    def clauses(self) -> Iterator[ColumnElement[bool]]:
        """What chooses series of these nodes."""
        if self.but:
            yield _SERIES.c.node.not_in(self.but)
        if self.only is not None:
            yield _SERIES.c.node.in_(self.only)


EVERY = Chosen()


@dataclass(slots=True)
class Subjects:
    """What the numbers mean. They never change, so that each is read once."""

    # The number of the node, its name, and an item's purpose, model, version, team and key.
    series: dict[int, tuple[int, str, tuple[Purpose, str, str, str, str]]] = field(default_factory=dict)
    facts: dict[int, Facts] = field(default_factory=dict)

    async def learn(self, connection: AsyncConnection) -> None:
        """Read the numbers that are new."""
        found = await connection.execute(
            select(_SERIES, _NODE.c.name)
            .join(_NODE, _NODE.c.id == _SERIES.c.node)
            .where(_SERIES.c.id > max(self.series, default=0))
        )
        for number, node, purpose, model, version, team, key, name in found:
            self.series[number] = (node, name, (_PURPOSES[purpose], model, version, team, key))
        news = await connection.execute(select(_FACTS).where(_FACTS.c.id > max(self.facts, default=0)))
        for number, said in news:
            self.facts[number] = Facts(**json.loads(said))


async def add(connection: AsyncConnection, level: int, items: Sequence[Item], nodes: Mapping[str, int]) -> None:
    """Add items, each as long as the level, to what is there; ``nodes`` has the number of each of their nodes."""
    if not items:
        return
    keys = [
        (nodes[item.node], _PURPOSES.index(item.purpose), item.model, item.version, item.team, item.key)
        for item in items
    ]
    series = await _numbers(connection, _SERIES, keys)
    said = {facts: (json.dumps(asdict(facts), sort_keys=True),) for facts in {item.facts for item in items}}
    facts = await _numbers(connection, _FACTS, said.values())
    rows = [
        dict(zip(_COLUMNS, (item.start_minute, series[key], facts[said[item.facts]], *sums_of(item)), strict=True))
        for item, key in zip(items, keys, strict=True)
    ]
    await connection.execute(upsert(connection.dialect, LEVELS[level], SUMS), rows)


async def unclaimed(connection: AsyncConnection, hour: int, nodes: Sequence[int]) -> list[Item]:
    """Nobody's work of some nodes in an hour."""
    hours = LEVELS[HOUR]
    found = await connection.execute(
        select(_NODE.c.name, _SERIES.c.model, _SERIES.c.version, _FACTS.c.said, *(hours.c[name] for name in SUMS))
        .join(_SERIES, _SERIES.c.id == hours.c.series)
        .join(_NODE, _NODE.c.id == _SERIES.c.node)
        .join(_FACTS, _FACTS.c.id == hours.c.facts)
        .where(
            hours.c.minute == hour,
            _SERIES.c.node.in_(nodes),
            _SERIES.c.purpose == _PURPOSES.index(Purpose.WORK),
            _SERIES.c.team == "",
            _SERIES.c.key == "",
        )
        .order_by(hours.c.series, hours.c.facts)
    )
    return [
        Item(hour, HOUR, node, Facts(**json.loads(said)), Purpose.WORK, model, version, "", "", *sums)
        for node, model, version, said, *sums in found
    ]


async def read(
    connection: AsyncConnection, subjects: Subjects, level: int, start: int, end: int, wanted: Chosen = EVERY
) -> AsyncIterator[list[Item]]:
    """The items of a level that begin from one minute until before another, of some nodes."""
    source = LEVELS[level]
    within = source.c.minute >= start, source.c.minute < end
    asked = select(source).where(*within).order_by(source.c.minute, source.c.series)
    async for chunk in _made(connection, subjects, asked, level, wanted):
        yield chunk


async def read_together(
    connection: AsyncConnection,
    subjects: Subjects,
    level: int,
    start: int,
    end: int,
    wanted: Chosen = EVERY,
    *,
    timeless: bool,
    apart: Set[str] = APART,
) -> AsyncIterator[list[Item]]:
    """As :func:`read`, with one item for all that are alike but for what nobody asks about, which it leaves empty:
    ``timeless``, when they were (it is then as long as the whole stretch), and what is not ``apart``.

    The database adds them up: a month of 1,000 nodes is 100,000 rows otherwise.
    """
    source = LEVELS[level]
    # Too many nodes for a statement are chosen here, from rows of single nodes.
    apart = APART if wanted.many else apart
    sums = [cast(func.sum(source.c[name]), BigInteger) for name in SUMS]
    alike: list[ColumnElement[Any]] = [source.c.series]
    if apart < APART:
        alike = [_SERIES.c.purpose, *(_SERIES.c[name] for name in sorted(apart))]
    first: ColumnElement[int] = literal(start) if timeless else source.c.minute
    minute = [] if timeless else [first]
    asked = (
        select(first, func.min(source.c.series), source.c.facts, *sums)
        .where(source.c.minute >= start, source.c.minute < end)
        .group_by(*minute, *alike, source.c.facts)
    )
    if apart < APART:
        asked = asked.join(_SERIES, _SERIES.c.id == source.c.series).where(*wanted.clauses())
        wanted = EVERY
    async for chunk in _made(connection, subjects, asked, end - start if timeless else level, wanted, apart):
        yield chunk


def _told(subjects: Subjects, apart: Set[str]) -> Mapping[int, tuple[int, str, tuple[Purpose, str, str, str, str]]]:
    """What the numbers of series mean, less what is not told apart."""
    if apart == APART:
        return subjects.series
    node, model, version, team, key = (name in apart for name in ("node", "model", "version", "team", "key"))
    return {
        number: (
            at,
            name if node else "",
            (use[0], use[1] if model else "", use[2] if version else "", use[3] if team else "", use[4] if key else ""),
        )
        for number, (at, name, use) in subjects.series.items()
    }


async def _made(
    connection: AsyncConnection,
    subjects: Subjects,
    asked: Select[Any],
    minutes: int,
    wanted: Chosen,
    apart: Set[str] = APART,
) -> AsyncIterator[list[Item]]:
    """Rows of first minute, series, facts and sums as items, each so many minutes long."""
    found = await connection.stream(asked)
    heads, facts = _told(subjects, apart), subjects.facts
    # Around the named tuple's own constructor, which takes as long as all the rest: a month is 100,000 of them.
    new = tuple.__new__
    async for whole in found.partitions(_ROWS):
        rows = whole if wanted == EVERY else [row for row in whole if heads[row[1]][0] in wanted]
        items: list[Item] = []
        for minute, number, known, *sums in rows:
            _, name, use = heads[number]
            items.append(new(Item, (minute, minutes, name, facts[known], *use, *sums)))
        yield items


async def _numbers(connection: AsyncConnection, target: Table, wanted: Iterable[Key]) -> dict[Key, int]:
    """The numbers of rows of a table of names; those never seen before are created."""
    keys = sorted(set(wanted))
    # Asked first: an insert that conflicts would use up a number all the same in PostgreSQL.
    numbers = await _known(connection, target, keys)
    missing = [key for key in keys if key not in numbers]
    if missing:
        make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        names = [column.name for column in target.columns][1:]
        await connection.execute(
            make(target).on_conflict_do_nothing(), [dict(zip(names, key, strict=True)) for key in missing]
        )
        numbers |= await _known(connection, target, missing)
    return numbers


async def _known(connection: AsyncConnection, target: Table, keys: Sequence[Key]) -> dict[Key, int]:
    number, *columns = target.columns
    numbers: dict[Key, int] = {}
    for at in range(0, len(keys), _CHUNK):
        found = await connection.execute(select(number, *columns).where(tuple_(*columns).in_(keys[at : at + _CHUNK])))
        numbers |= {tuple(key): number for number, *key in found}
    return numbers
