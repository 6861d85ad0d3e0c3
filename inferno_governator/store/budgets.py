"""Budgets in the store, by name."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.budgets.budget import Budget, Scope
from inferno_governator.store.schema import BudgetRow, table

_BUDGET = table(BudgetRow)


async def read(connection: AsyncConnection) -> list[Budget]:
    """Every budget by name."""
    found = await connection.execute(select(_BUDGET).order_by(_BUDGET.c.name))
    return [
        Budget(
            name=row["name"],
            scope=Scope(row["team"], row["api_key"], row["model"], row["region"]),
            amount_micros=row["amount_micros"],
            period=row["period"],
            thresholds=tuple(map(int, row["thresholds"].split(","))),
            hard=bool(row["hard"]),
        )
        for row in found.mappings()
    ]


async def write(connection: AsyncConnection, budget: Budget) -> None:
    """Keep a budget in the place of the one of its name."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = {
        "team": budget.scope.team,
        "api_key": budget.scope.key,
        "model": budget.scope.model,
        "region": budget.scope.region,
        "amount_micros": budget.amount_micros,
        "period": budget.period,
        "thresholds": ",".join(map(str, budget.thresholds)),
        "hard": budget.hard,
    }
    insert = make(_BUDGET).values({"name": budget.name, **row})
    await connection.execute(insert.on_conflict_do_update(index_elements=[_BUDGET.c.name], set_=row))


async def drop(connection: AsyncConnection, name: str) -> bool:
    """Delete a budget; False when there is none of that name."""
    return bool((await connection.execute(delete(_BUDGET).where(_BUDGET.c.name == name))).rowcount)
