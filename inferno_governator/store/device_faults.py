"""What devices of nodes cannot work for: the newest word of each device."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import BigInteger, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel

from inferno_governator.store.schema import Node, table
from inferno_governator.watch.node_findings import SickDevice


class DeviceFault(SQLModel, table=True):
    """Why a device of a node could do no work when it was heard of last."""

    __tablename__ = "device_fault"
    __table_args__ = ({"sqlite_with_rowid": False},)

    node: int = Field(primary_key=True, foreign_key="node.id")
    device: str = Field(primary_key=True)
    fault: str
    last_micros: int = Field(sa_type=BigInteger)


_NODE, _FAULT = table(Node), table(DeviceFault)
# By device: when it was said last, and why it can do no work.
Faults = Mapping[str, tuple[int, str]]


async def write(connection: AsyncConnection, said: list[tuple[int, Faults]]) -> None:
    """Keep what nodes (by number) say of their devices, the newest word of each."""
    newest: dict[tuple[int, str], tuple[int, str]] = {}
    for node, faults in said:
        for device, word in faults.items():
            newest[node, device] = max(newest.get((node, device), word), word)
    if not newest:
        return
    insert = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(_FAULT)
    upsert = insert.on_conflict_do_update(
        index_elements=[_FAULT.c.node, _FAULT.c.device],
        set_={"fault": insert.excluded.fault, "last_micros": insert.excluded.last_micros},
        where=insert.excluded.last_micros >= _FAULT.c.last_micros,
    )
    await connection.execute(
        upsert,
        [
            {"node": node, "device": device, "fault": fault, "last_micros": last}
            for (node, device), (last, fault) in sorted(newest.items())
        ],
    )


async def read(connection: AsyncConnection, since_micros: int) -> list[SickDevice]:
    """Devices that could do no work since a time (Unix microseconds), by node and name."""
    found = await connection.execute(
        select(_NODE.c.name, _FAULT.c.device, _FAULT.c.fault)
        .join(_NODE, _NODE.c.id == _FAULT.c.node)
        .where(_FAULT.c.last_micros >= since_micros)
        .order_by(_NODE.c.name, _FAULT.c.device)
    )
    return [SickDevice(*row) for row in found]
