"""Items on disk, by hour and day: what they are of has a number, and so has the price they were billed at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Select, Table, cast, func, literal, select, tuple_
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
# Of a node, by its number: is it asked for?
Wanted = Callable[[int], bool]


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
    connection: AsyncConnection, subjects: Subjects, level: int, start: int, end: int, wanted: Wanted | None = None
) -> AsyncIterator[list[Item]]:
    """The items of a level that begin from one minute until before another; of ``wanted`` nodes, None is every node."""
    source = LEVELS[level]
    within = source.c.minute >= start, source.c.minute < end
    asked = select(source).where(*within).order_by(source.c.minute, source.c.series)
    async for chunk in _made(connection, subjects, asked, level, wanted):
        yield chunk


async def read_together(
    connection: AsyncConnection, subjects: Subjects, level: int, start: int, end: int, wanted: Wanted | None = None
) -> AsyncIterator[list[Item]]:
    """As :func:`read`, with one item as long as the whole stretch for all that are alike but for their time.

    The database adds them up: a month of 1,000 nodes is 100,000 rows otherwise.
    """
    source = LEVELS[level]
    sums = [cast(func.sum(source.c[name]), BigInteger) for name in SUMS]
    asked = (
        select(literal(start), source.c.series, source.c.facts, *sums)
        .where(source.c.minute >= start, source.c.minute < end)
        .group_by(source.c.series, source.c.facts)
    )
    async for chunk in _made(connection, subjects, asked, end - start, wanted):
        yield chunk


async def _made(
    connection: AsyncConnection, subjects: Subjects, asked: Select[Any], minutes: int, wanted: Wanted | None
) -> AsyncIterator[list[Item]]:
    """Rows of first minute, series, facts and sums as items, each so many minutes long."""
    found = await connection.stream(asked)
    heads, facts = subjects.series, subjects.facts
    # Around the named tuple's own constructor, which takes as long as all the rest: a month is 100,000 of them.
    new = tuple.__new__
    async for whole in found.partitions(_ROWS):
        rows = whole if wanted is None else [row for row in whole if wanted(heads[row[1]][0])]
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
