"""What nodes' benchmarks have shown: the newest reports about each model, configuration and hardware of a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.capacity import Capacity, CapacityStep, CapacitySubject
from inferno_governator.store.names import Names
from inferno_governator.store.schema import CapacityReport, Node, table
from inferno_governator.store.schema import CapacityStep as StepRow

_REPORT, _STEP, _NODE = table(CapacityReport), table(StepRow), table(Node)
_SUBJECT = ("node", "hardware", "model", "files", "configuration")
_KEY = (*_SUBJECT, "measured_micros")
_STEP_COLUMNS = [column.name for column in _STEP.columns]
# Reports that are kept about one thing: enough to see a device grow slower.
_KEPT = 20


async def record(connection: AsyncConnection, names: Names, draft: Names, capacities: Sequence[Capacity]) -> None:
    """Write reports; one that is known already gets what it says now.

    Args:
        connection: Inside a transaction that writes.
        names: Numbers known to be committed.
        draft: Takes the numbers found here; to be kept once the transaction is committed.
        capacities: Reports of any nodes.
    """
    numbers = await names.number_nodes(connection, (each.subject.node for each in capacities), draft)
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    for each in capacities:
        row = _row(each, numbers[each.subject.node])
        insert = make(_REPORT)
        news = {name: insert.excluded[name] for name in row if name not in _KEY}
        statement = insert.on_conflict_do_update(index_elements=list(_KEY), set_=news).returning(_REPORT.c.id)
        number = (await connection.execute(statement, row)).scalar_one()
        await connection.execute(delete(_STEP).where(_STEP.c.report == number))
        steps = [dict(zip(_STEP_COLUMNS, (number, *astuple(step)), strict=True)) for step in each.steps]
        await connection.execute(_STEP.insert(), steps)
        await _forget_old(connection, row)


def _row(capacity: Capacity, node: int) -> dict[str, Any]:
    subject = capacity.subject
    return {
        "node": node,
        "hardware": subject.hardware,
        "model": subject.model,
        "files": subject.files,
        "configuration": subject.configuration,
        "measured_micros": capacity.measured_micros,
        "hardware_name": capacity.hardware_name,
        "settings": capacity.settings,
        "objective_micros": capacity.objective_micros,
        "triton_version": capacity.triton_version,
        "complete": capacity.complete,
    }


async def _forget_old(connection: AsyncConnection, row: dict[str, Any]) -> None:
    same = and_(*(_REPORT.c[name] == row[name] for name in _SUBJECT))
    newest = select(_REPORT.c.id).where(same).order_by(_REPORT.c.measured_micros.desc()).offset(_KEPT)
    # SQLite takes no OFFSET without a LIMIT; the rows beyond are few.
    old = [number for (number,) in await connection.execute(newest.limit(1000))]
    if old:
        await connection.execute(delete(_STEP).where(_STEP.c.report.in_(old)))
        await connection.execute(delete(_REPORT).where(_REPORT.c.id.in_(old)))


async def newest(connection: AsyncConnection, node: str, model: str) -> list[Capacity]:
    """The newest report about each thing, by node, model and time; an empty name is every node or model.

    A complete report goes before one that was interrupted, however new.
    """
    wanted: list[ColumnElement[bool]] = []
    if node:
        wanted.append(_NODE.c.name == node)
    if model:
        wanted.append(_REPORT.c.model == model)
    rank = (
        func.row_number()
        .over(
            partition_by=[_REPORT.c[name] for name in _SUBJECT],
            order_by=(_REPORT.c.complete.desc(), _REPORT.c.measured_micros.desc()),
        )
        .label("rank")
    )
    ranked = (
        select(_REPORT, _NODE.c.name.label("node_name"), rank)
        .join(_NODE, _NODE.c.id == _REPORT.c.node)
        .where(*wanted)
        .subquery()
    )
    found = await connection.execute(
        select(ranked)
        .where(ranked.c.rank == 1)
        .order_by(ranked.c.node_name, ranked.c.model, ranked.c.measured_micros, ranked.c.id)
    )
    rows = found.mappings().all()
    steps = await _steps(connection, [row["id"] for row in rows])
    return [_capacity(row, steps.get(row["id"], ())) for row in rows]


async def _steps(connection: AsyncConnection, reports: list[int]) -> dict[int, tuple[CapacityStep, ...]]:
    found: dict[int, list[CapacityStep]] = {}
    # Below both databases' bound of parameters.
    for at in range(0, len(reports), 10_000):
        rows = await connection.execute(
            select(_STEP)
            .where(_STEP.c.report.in_(reports[at : at + 10_000]))
            .order_by(_STEP.c.report, _STEP.c.batch, _STEP.c.concurrency)
        )
        for report, *values in rows:
            found.setdefault(report, []).append(CapacityStep(*values))
    return {report: tuple(steps) for report, steps in found.items()}


def _capacity(row: Any, steps: tuple[CapacityStep, ...]) -> Capacity:
    subject = CapacitySubject(row["node_name"], *(row[name] for name in _SUBJECT[1:]))
    return Capacity(
        subject,
        row["measured_micros"],
        row["hardware_name"],
        row["settings"],
        row["objective_micros"],
        row["triton_version"],
        bool(row["complete"]),
        steps,
    )
