"""What nodes say of themselves, with the minute from which it holds; prices of the past stay what they were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store import books
from inferno_governator.store.schema import NodeFacts, table
from inferno_governator.usage import Facts

_FACTS = table(NodeFacts)
# In the order of the fields of Facts.
COLUMNS = ("price_micros_per_hour", "region", "device", "gpu_count", "instance_type", "spot")
# Below both databases' bound of parameters.
_CHUNK = 10_000


class Statement(NamedTuple):
    """Facts of a node (by number) from a minute on."""

    node: int
    minute: int
    facts: Facts


async def record(connection: AsyncConnection, statements: Iterable[Statement]) -> None:
    """Write what is news: facts that differ from the node's newest, or begin earlier than it."""
    stated = list(statements)
    newest = await _newest(connection, sorted({each.node for each in stated}))
    rows: dict[tuple[int, int], Facts] = {}
    for each in stated:
        known = newest.get(each.node)
        if known is not None and known.facts == each.facts and known.minute <= each.minute:
            continue
        rows[each.node, each.minute] = each.facts
        if known is None or known.minute <= each.minute:
            newest[each.node] = each
    if not rows:
        return
    for node, minute in rows:
        await books.reopen_billed(connection, node, minute)
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    insert = make(_FACTS)
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=[_FACTS.c.node, _FACTS.c.effective_minute],
            set_={name: insert.excluded[name] for name in COLUMNS},
        ),
        [
            {
                "node": node,
                "effective_minute": minute,
                "price_micros_per_hour": facts.price,
                "region": facts.region,
                "device": facts.device,
                "gpu_count": facts.gpu_count,
                "instance_type": facts.instance_type,
                "spot": facts.spot,
            }
            for (node, minute), facts in rows.items()
        ],
    )


async def _newest(connection: AsyncConnection, nodes: list[int]) -> dict[int, Statement]:
    newest: dict[int, Statement] = {}
    for at in range(0, len(nodes), _CHUNK):
        last = (
            select(_FACTS.c.node, func.max(_FACTS.c.effective_minute).label("minute"))
            .where(_FACTS.c.node.in_(nodes[at : at + _CHUNK]))
            .group_by(_FACTS.c.node)
            .subquery()
        )
        found = await connection.execute(
            select(_FACTS.c.node, _FACTS.c.effective_minute, *(_FACTS.c[name] for name in COLUMNS)).join(
                last, (_FACTS.c.node == last.c.node) & (_FACTS.c.effective_minute == last.c.minute)
            )
        )
        for node, minute, price, region, device, gpu_count, instance_type, spot in found:
            facts = Facts(price, region, device, gpu_count, instance_type, bool(spot))
            newest[node] = Statement(node, minute, facts)
    return newest
