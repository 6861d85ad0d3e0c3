"""What nodes' devices can do: the newest figures of each device, by each library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import RowMapping, and_, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.capacity import DeviceFigure
from inferno_governator.store.names import Names
from inferno_governator.store.schema import DeviceFigure as Row
from inferno_governator.store.schema import Node, table

_FIGURE, _NODE = table(Row), table(Node)
_THING = ("node", "device", "figure", "library")
_VALUES = ("hardware", "name", "value", "unit", "spread")
# Figures that are kept about one thing: enough to see a device grow slower.
_KEPT = 20


async def record(connection: AsyncConnection, names: Names, draft: Names, figures: Sequence[DeviceFigure]) -> None:
    """Write figures; one that is known already gets what it says now.

    Args:
        connection: Inside a transaction that writes.
        names: Numbers known to be committed.
        draft: Takes the numbers found here; to be kept once the transaction is committed.
        figures: Figures of any nodes.
    """
    numbers = await names.number_nodes(connection, (each.node for each in figures), draft)
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    insert = make(_FIGURE)
    statement = insert.on_conflict_do_update(
        index_elements=[*_THING, "measured_micros"], set_={name: insert.excluded[name] for name in _VALUES}
    )
    for each in figures:
        row = {**asdict(each), "node": numbers[each.node]}
        await connection.execute(statement, row)
        same = and_(*(_FIGURE.c[name] == row[name] for name in _THING))
        newest = select(_FIGURE.c.measured_micros).where(same).order_by(_FIGURE.c.measured_micros.desc())
        last = (await connection.execute(newest.limit(1).offset(_KEPT - 1))).scalar_one_or_none()
        if last is not None:
            await connection.execute(delete(_FIGURE).where(same, _FIGURE.c.measured_micros < last))


async def newest(connection: AsyncConnection, node: str) -> list[DeviceFigure]:
    """The newest figure about each thing, by node, device and figure; an empty name is every node."""
    last = (
        select(*(_FIGURE.c[name] for name in _THING), func.max(_FIGURE.c.measured_micros).label("at"))
        .group_by(*(_FIGURE.c[name] for name in _THING))
        .subquery()
    )
    same = and_(*(_FIGURE.c[name] == last.c[name] for name in _THING), _FIGURE.c.measured_micros == last.c.at)
    wanted = (
        select(_NODE.c.name.label("node_name"), _FIGURE)
        .join(last, same)
        .join(_NODE, _NODE.c.id == _FIGURE.c.node)
        .order_by(_NODE.c.name, _FIGURE.c.device, _FIGURE.c.figure, _FIGURE.c.library)
    )
    found = await connection.execute(wanted.where(_NODE.c.name == node) if node else wanted)
    return [_figure(row) for row in found.mappings()]


def _figure(row: RowMapping) -> DeviceFigure:
    told = {name: row[name] for name in ("device", "figure", "library", "measured_micros", *_VALUES)}
    return DeviceFigure(node=row["node_name"], **told)
