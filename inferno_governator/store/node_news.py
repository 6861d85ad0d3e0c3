"""When nodes were heard last, and what they dropped of late."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store.schema import Node, NodeMinute, StreamPosition, table
from inferno_governator.watch.node_findings import NodeNews

_NODE, _LOSS, _STREAM = table(Node), table(NodeMinute), table(StreamPosition)


async def read(connection: AsyncConnection, since_micros: int, dropped_from_minute: int) -> list[NodeNews]:
    """News of the nodes of which something was stored since a time (Unix microseconds), by name."""
    heard = (
        select(_STREAM.c.node, func.max(_STREAM.c.stored_micros).label("stored"))
        .where(_STREAM.c.stored_micros >= since_micros)
        .group_by(_STREAM.c.node)
        .subquery()
    )
    lost = (
        select(_LOSS.c.node, func.sum(_LOSS.c.dropped_samples).label("dropped"))
        .where(_LOSS.c.minute >= dropped_from_minute)
        .group_by(_LOSS.c.node)
        .subquery()
    )
    found = await connection.execute(
        select(_NODE.c.name, heard.c.stored, func.coalesce(lost.c.dropped, 0))
        .join(heard, heard.c.node == _NODE.c.id)
        .outerjoin(lost, lost.c.node == _NODE.c.id)
        .order_by(_NODE.c.name)
    )
    return [NodeNews(name, stored, int(dropped)) for name, stored, dropped in found]
