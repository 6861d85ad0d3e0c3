"""Notices of providers in the store: one row for each, however often it is reported."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.notices import MOST, Kind, Notice, StoredNotice
from inferno_governator.store.schema import Node, ProviderNotice, table

_NODE, _NOTICE = table(Node), table(ProviderNotice)
_KEY = ("node", "incarnation", "kind", "action")
_SAID = ("noticed_micros", "reclaim_micros", "provider", "region", "zone", "instance_type", "instance_id", "spot")


async def write(connection: AsyncConnection, node: int, notice: Notice, now_micros: int) -> bool:
    """Store a notice of a node (by number); False when it was there. One that names another time is corrected, and
    keeps when it was stored first."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    key = {"node": node, "incarnation": notice.incarnation, "kind": notice.kind.value, "action": notice.action}
    known = select(func.count()).select_from(_NOTICE).where(*(_NOTICE.c[name] == value for name, value in key.items()))
    there = bool((await connection.execute(known)).scalar_one())
    insert = make(_NOTICE).values(
        {
            **key,
            **{name: getattr(notice, name) for name in _SAID},
            "stored_micros": now_micros,
        }
    )
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=[_NOTICE.c[name] for name in _KEY],
            set_={"reclaim_micros": insert.excluded.reclaim_micros},
        )
    )
    return not there


async def read(connection: AsyncConnection, start_micros: int) -> list[StoredNotice]:
    """Notices that were stored at a time or later, oldest first, at most :data:`MOST`."""
    found = await connection.execute(
        select(
            _NODE.c.name,
            _NOTICE.c.incarnation,
            _NOTICE.c.kind,
            _NOTICE.c.action,
            *(_NOTICE.c[name] for name in _SAID),
            _NOTICE.c.stored_micros,
        )
        .join(_NODE, _NODE.c.id == _NOTICE.c.node)
        .where(_NOTICE.c.stored_micros >= start_micros)
        .order_by(_NOTICE.c.stored_micros, _NODE.c.name)
        .limit(MOST)
    )
    return [
        StoredNotice(
            Notice(
                node_id=row["name"],
                incarnation=row["incarnation"],
                kind=Kind(row["kind"]),
                action=row["action"],
                **{name: row[name] for name in _SAID},
            ),
            row["stored_micros"],
        )
        for row in found.mappings()
    ]
