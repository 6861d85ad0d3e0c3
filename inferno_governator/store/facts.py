"""What nodes say of themselves, with the minute from which it holds; prices of the past stay what they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store import books
from inferno_governator.store.fact_columns import COLUMNS, FIELDS
from inferno_governator.store.schema import Node, NodeFacts, Series, table
from inferno_governator.usage import Facts

_FACTS, _NODE, _SERIES = table(NodeFacts), table(Node), table(Series)
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
    await overwrite(connection, [Statement(node, minute, facts) for (node, minute), facts in rows.items()])


async def overwrite(connection: AsyncConnection, statements: Sequence[Statement]) -> None:
    """Write facts from their minutes on, in the place of what was said from the same minute on."""
    if not statements:
        return
    for each in statements:
        await books.reopen_billed(connection, each.node, each.minute)
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    insert = make(_FACTS)
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=[_FACTS.c.node, _FACTS.c.effective_minute],
            set_={name: insert.excluded[name] for name in COLUMNS},
        ),
        [
            {
                "node": each.node,
                "effective_minute": each.minute,
                **{column: getattr(each.facts, name) for column, name in FIELDS.items()},
            }
            for each in statements
        ],
    )


async def histories(connection: AsyncConnection, end_minute: int) -> dict[int, list[Statement]]:
    """What is known of every node until before a minute, oldest first, by its number."""
    columns = (_FACTS.c.node, _FACTS.c.effective_minute, *(_FACTS.c[name] for name in COLUMNS))
    found = await connection.execute(
        select(*columns).where(_FACTS.c.effective_minute < end_minute).order_by(*columns[:2])
    )
    history: dict[int, list[Statement]] = {}
    for node, minute, *values in found:
        history.setdefault(node, []).append(Statement(node, minute, Facts(*values)))
    return history


async def newest(connection: AsyncConnection) -> dict[str, Statement]:
    """What is known now of every node, by its name; proxies, which tell of requests alone, are none."""
    said, measured = (select(each.c.node).where(each.c.node == _NODE.c.id).exists() for each in (_FACTS, _SERIES))
    found = await connection.execute(select(_NODE.c.id, _NODE.c.name).where(said | measured))
    names: dict[int, str] = {row.id: row.name for row in found}
    told = await _newest(connection, sorted(names))
    # A node may send telemetry and say nothing of itself.
    return {name: told.get(number, Statement(number, 0, Facts(0))) for number, name in names.items()}


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
        for node, minute, *values in found:
            newest[node] = Statement(node, minute, Facts(*values))
    return newest
