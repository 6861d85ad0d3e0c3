"""Objectives in the store, by model."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store.alert_schema import ObjectiveRow
from inferno_governator.store.schema import table
from inferno_governator.watch.objective import Objective

_OBJECTIVE = table(ObjectiveRow)


async def read(connection: AsyncConnection) -> list[Objective]:
    """Every objective by model."""
    found = await connection.execute(select(_OBJECTIVE).order_by(_OBJECTIVE.c.model))
    return [Objective(**row) for row in found.mappings()]


async def write(connection: AsyncConnection, objective: Objective) -> None:
    """Keep an objective in the place of the one of its model."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = asdict(objective)
    insert = make(_OBJECTIVE).values(row)
    del row["model"]
    await connection.execute(insert.on_conflict_do_update(index_elements=[_OBJECTIVE.c.model], set_=row))


async def drop(connection: AsyncConnection, model: str) -> bool:
    """Delete an objective; False when there is none of that model."""
    return bool((await connection.execute(delete(_OBJECTIVE).where(_OBJECTIVE.c.model == model))).rowcount)
