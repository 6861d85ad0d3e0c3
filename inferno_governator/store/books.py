"""The books: each hour's items made from its minutes and each day's from its hours, and again whenever something came.

What comes marks the hours and days it lies in as open, in the transaction that stores it. An open hour is read from its
minutes, so that what is read is exact at every moment; some time after its end it is settled. Only hours that are
settled are sealed, and only sealed ones lose their minutes. What comes for a sealed hour after all is billed by itself
and added (docs/decisions/0141); what callers turn out to have asked in it is taken from nobody (docs/decisions/0149).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from sqlalchemy import BigInteger, Select, Table, delete, func, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.cost import DeviceUse, Gap, ModelUse, rolled_up
from inferno_governator.analysis.sharing import CallerUse, claimed
from inferno_governator.store import device_rollups, items, usage_reader
from inferno_governator.store.item_schema import ItemSeries, OpenDay, OpenHour, Sealed
from inferno_governator.store.items import DAY, HOUR, LEVELS, SUMS
from inferno_governator.store.schema import Node, table
from inferno_governator.store.usage_reader import UsageChunk

_NODE, _SERIES, _SEALED = table(Node), table(ItemSeries), table(Sealed)
OPEN: Mapping[int, Table] = {HOUR: table(OpenHour), DAY: table(OpenDay)}
# Minutes after its end before an hour or day is settled: what comes a little late does not open it again.
GRACE = 5
# Nodes of one transaction: about 0.1 s of work.
_NODES = 50

NodeStretch = tuple[int, int]


async def sealed(connection: AsyncConnection, length: int) -> int:
    """The minute before which a level, by its length in minutes, takes nothing in any more."""
    found = await connection.execute(select(_SEALED.c.minute).where(_SEALED.c.length == length))
    return found.scalar() or 0


async def seal(connection: AsyncConnection, length: int, until: int) -> int:
    """Seal a level until a minute, or until the first stretch that is still open; returns until where it is sealed."""
    coarser = OPEN[HOUR if length == 1 else DAY]
    first = (await connection.execute(select(func.min(coarser.c.minute)))).scalar()
    before = await sealed(connection, length)
    at = max(before, until if first is None else min(until, first))
    if at > before:
        await connection.execute(delete(_SEALED).where(_SEALED.c.length == length))
        await connection.execute(insert(_SEALED).values(length=length, minute=at))
    return at


async def reopen(connection: AsyncConnection, node_minutes: Iterable[NodeStretch], *, hours: bool = True) -> None:
    """Mark the hours and days of ``(minute, node)`` as open; without ``hours``, only the days."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    touched = set(node_minutes)
    for length, target in OPEN.items():
        marks = sorted({(minute - minute % length, node) for minute, node in touched})
        if marks and (hours or length == DAY):
            await connection.execute(
                make(target).on_conflict_do_nothing(), [{"minute": minute, "node": node} for minute, node in marks]
            )


async def reopen_named(connection: AsyncConnection, touched: Iterable[tuple[int, str]]) -> None:
    """The same for ``(minute, name of node)``; of nodes that never sent telemetry there are no books."""
    minutes = list(touched)
    if minutes:
        known = await _known(connection, {name for _, name in minutes})
        await reopen(connection, [(minute, known[name]) for minute, name in minutes if name in known])


async def reopen_billed(connection: AsyncConnection, node: int, start_minute: int) -> None:
    """Open what is already billed of a node from a minute on: its price, or who asked, is no longer what it was."""
    hours = LEVELS[HOUR]
    begin = max(start_minute - start_minute % HOUR, await sealed(connection, 1))
    found = await connection.execute(
        select(hours.c.minute)
        .join(_SERIES, _SERIES.c.id == hours.c.series)
        .where(hours.c.minute >= begin, _SERIES.c.node == node)
        .distinct()
    )
    await reopen(connection, [(minute, node) for (minute,) in found])


async def settle_hours(connection: AsyncConnection, now_minute: int) -> int:
    """Make the items of one hour of some nodes from its minutes; returns how many node-hours were open."""
    minute, nodes = await _some_open(connection, HOUR, now_minute)
    if not nodes:
        return 0
    names = await _names(connection, nodes)
    history = await usage_reader.node_facts(connection, minute + HOUR, nodes)
    chunk = await usage_reader.whole(connection, minute, minute + HOUR, nodes)
    made = rolled_up(chunk.items(history), HOUR)
    await _clear(connection, HOUR, minute, nodes)
    await items.add(connection, HOUR, made, names)
    await device_rollups.settle_hour(connection, minute, nodes)
    await _close(connection, HOUR, minute, nodes)
    return len(nodes)


async def settle_days(connection: AsyncConnection, now_minute: int) -> int:
    """Make the items of one day of some nodes from its hours; returns how many node-days were open."""
    minute, nodes = await _some_open(connection, DAY, now_minute)
    if not nodes:
        return 0
    await _clear(connection, DAY, minute, nodes)
    hours, days = LEVELS[HOUR], LEVELS[DAY]
    sums = (
        select(literal(minute, BigInteger), hours.c.series, hours.c.facts, *(func.sum(hours.c[name]) for name in SUMS))
        .where(hours.c.minute >= minute, hours.c.minute < minute + DAY, hours.c.series.in_(_series_of(nodes)))
        .group_by(hours.c.series, hours.c.facts)
    )
    await connection.execute(insert(days).from_select([column.name for column in days.columns], sums))
    await device_rollups.settle_day(connection, minute, nodes)
    await _close(connection, DAY, minute, nodes)
    return len(nodes)


async def add_late(connection: AsyncConnection, chunk: UsageChunk, nodes: Mapping[str, int]) -> None:
    """Bill what came for sealed hours by itself and add it; ``nodes`` has the numbers of its nodes."""
    uses: Iterator[ModelUse | DeviceUse | Gap] = chain(chunk.models, chunk.devices, chunk.gaps)
    last = max(use.minute for use in uses)
    history = await usage_reader.node_facts(connection, last + 1, list(nodes.values()))
    made = rolled_up(chunk.items(history), HOUR)
    await items.add(connection, HOUR, made, nodes)
    await reopen(connection, [(item.start_minute, nodes[item.node]) for item in made], hours=False)


async def claim_late(connection: AsyncConnection, callers: Sequence[CallerUse]) -> None:
    """Give callers that a proxy tells of late their part of what sealed hours have as nobody's work.

    The minutes in which they asked are gone, so that it is shared by the hour. Of an hour of which nobody's work is not
    there (any more), nothing changes.
    """
    if not callers:
        return
    known = await _known(connection, {use.node for use in callers})
    by_hour: dict[int, list[CallerUse]] = {}
    for use in callers:
        if use.node in known:
            hour = use.minute - use.minute % HOUR
            by_hour.setdefault(hour, []).append(use._replace(minute=hour))
    for hour, uses in by_hour.items():
        nodes = {use.node: known[use.node] for use in uses}
        unclaimed = await items.unclaimed(connection, hour, list(nodes.values()))
        changes = claimed(unclaimed, uses)
        await items.add(connection, HOUR, changes, nodes)
        await reopen(connection, [(hour, nodes[item.node]) for item in changes], hours=False)


async def _some_open(connection: AsyncConnection, length: int, now_minute: int) -> tuple[int, list[int]]:
    """The first stretch that has ended and is open, and some of its nodes; of days, those without an open hour."""
    opened = OPEN[length]
    ended = opened.c.minute <= now_minute - length - GRACE
    if length == DAY:
        hours = OPEN[HOUR]
        ended &= ~(
            select(hours.c.node)
            .where(
                hours.c.node == opened.c.node,
                hours.c.minute >= opened.c.minute,
                hours.c.minute < opened.c.minute + DAY,
            )
            .exists()
        )
    found = await connection.execute(
        select(opened.c.minute, opened.c.node).where(ended).order_by(opened.c.minute, opened.c.node).limit(_NODES)
    )
    marks = [(minute, node) for minute, node in found]
    first = marks[0][0] if marks else 0
    return first, [node for minute, node in marks if minute == first]


async def _clear(connection: AsyncConnection, length: int, minute: int, nodes: list[int]) -> None:
    level = LEVELS[length]
    await connection.execute(delete(level).where(level.c.minute == minute, level.c.series.in_(_series_of(nodes))))


async def _close(connection: AsyncConnection, length: int, minute: int, nodes: list[int]) -> None:
    opened = OPEN[length]
    await connection.execute(delete(opened).where(opened.c.minute == minute, opened.c.node.in_(nodes)))


def _series_of(nodes: list[int]) -> Select[tuple[int]]:
    return select(_SERIES.c.id).where(_SERIES.c.node.in_(nodes))


async def _known(connection: AsyncConnection, names: Collection[str]) -> dict[str, int]:
    """The numbers of those nodes that have sent telemetry."""
    found = await connection.execute(select(_NODE.c.name, _NODE.c.id).where(_NODE.c.name.in_(names)))
    return {name: number for name, number in found}  # noqa: C416 - a row is no pair to the types


async def _names(connection: AsyncConnection, nodes: list[int]) -> dict[str, int]:
    found = await connection.execute(select(_NODE.c.name, _NODE.c.id).where(_NODE.c.id.in_(nodes)))
    return {name: number for name, number in found}  # noqa: C416 - a row is no pair to the types
