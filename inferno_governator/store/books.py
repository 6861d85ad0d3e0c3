"""The books: each hour's items made from its minutes and each day's from its hours, and again whenever something came.

What comes marks the hours and days it lies in as open, in the transaction that stores it. An open hour is settled a few
minutes at a time, some time after their end, and is read from the items of what is settled and the minutes of the rest,
so that what is read is exact at every moment; what comes for settled minutes makes its items anew. Only hours that are
settled as a whole are sealed, and only sealed ones lose their minutes. What comes for a sealed hour after all is billed
by itself and added (docs/decisions/0141, 0143); what callers turn out to have asked in it is taken from nobody (0149).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from sqlalchemy import BigInteger, Select, Table, bindparam, delete, func, insert, literal, select, update
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
# Minutes after their end before minutes, hours and days are settled: what comes a little late does not open them again.
GRACE = 5
# Minutes that are settled at once while their hour lasts.
PART = 5
# Nodes of one transaction, and minutes of nodes: about 0.1 s of work.
_NODES, _NODE_MINUTES = 500, 1_500

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
    days = sorted({(minute - minute % DAY, node) for minute, node in touched})
    if days:
        await connection.execute(
            make(OPEN[DAY]).on_conflict_do_nothing(), [{"minute": minute, "node": node} for minute, node in days]
        )
    if not hours or not touched:
        return
    first: dict[NodeStretch, int] = {}
    for minute, node in touched:
        mark = (minute - minute % HOUR, node)
        first[mark] = min(first.get(mark, HOUR), minute % HOUR)
    opened = OPEN[HOUR]
    mark_open = make(opened).values(minute=bindparam("hour"), node=bindparam("whose"), settled=0)
    await connection.execute(
        mark_open.on_conflict_do_update(
            index_elements=[opened.c.minute, opened.c.node],
            set_={"settled": 0},
            where=opened.c.settled > bindparam("touched"),
        ),
        [{"hour": minute, "whose": node, "touched": at} for (minute, node), at in sorted(first.items())],
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
    """Add what is due of one hour of some nodes to its items, from its minutes; returns how many nodes those are."""
    minute, settled, nodes = await _some_hours(connection, now_minute)
    if not nodes:
        return 0
    end = min(minute + HOUR, _due(now_minute))
    names = await _names(connection, nodes)
    history = await usage_reader.node_facts(connection, end, nodes)
    chunk = await usage_reader.whole(connection, minute + settled, end, nodes)
    made = rolled_up(chunk.items(history), HOUR)
    if not settled:
        await _clear(connection, HOUR, minute, nodes)
    await items.add(connection, HOUR, made, names)
    if end == minute + HOUR:
        await device_rollups.settle_hour(connection, minute, nodes)
        await _close(connection, HOUR, minute, nodes)
    else:
        opened = OPEN[HOUR]
        await connection.execute(
            update(opened).where(opened.c.minute == minute, opened.c.node.in_(nodes)).values(settled=end - minute)
        )
    return len(nodes)


async def settle_days(connection: AsyncConnection, now_minute: int) -> int:
    """Make the items of one day of some nodes from its hours; returns how many node-days were open."""
    minute, nodes = await _some_days(connection, now_minute)
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


def _due(now_minute: int) -> int:
    """The minute before which minutes may be settled."""
    return (now_minute - GRACE) // PART * PART


async def _some_hours(connection: AsyncConnection, now_minute: int) -> tuple[int, int, list[int]]:
    """The first hour of which minutes are to be settled, how many are already, and some nodes of which that holds."""
    opened, due = OPEN[HOUR], _due(now_minute)
    found = await connection.execute(
        select(opened.c.minute, opened.c.settled, opened.c.node)
        .where(opened.c.minute + opened.c.settled < due)
        .order_by(opened.c.minute, opened.c.node)
        .limit(_NODES)
    )
    marks = [(minute, settled, node) for minute, settled, node in found]
    if not marks:
        return 0, 0, []
    minute, settled, _ = marks[0]
    most = max(1, _NODE_MINUTES // (min(minute + HOUR, due) - minute - settled))
    return minute, settled, [node for *mark, node in marks if mark == [minute, settled]][:most]


async def _some_days(connection: AsyncConnection, now_minute: int) -> tuple[int, list[int]]:
    """The first day that has ended, is open and has no open hour, and some of its nodes."""
    opened, hours = OPEN[DAY], OPEN[HOUR]
    unsettled = (
        select(hours.c.node)
        .where(
            hours.c.node == opened.c.node,
            hours.c.minute >= opened.c.minute,
            hours.c.minute < opened.c.minute + DAY,
        )
        .exists()
    )
    found = await connection.execute(
        select(opened.c.minute, opened.c.node)
        .where(opened.c.minute <= now_minute - DAY - GRACE, ~unsettled)
        .order_by(opened.c.minute, opened.c.node)
        .limit(_NODES)
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
