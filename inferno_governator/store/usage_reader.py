"""Read minute roll-ups as usage, in chunks that bound memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.cost import DeviceUse, FactsChange, ModelUse
from inferno_governator.store.facts import COLUMNS as FACTS_COLUMNS
from inferno_governator.store.schema import DeviceMinute, ModelMinute, Node, NodeFacts, NodeMinute, Series, table
from inferno_governator.usage import Facts

_NODE, _FACTS, _SERIES = table(Node), table(NodeFacts), table(Series)
_MODEL, _DEVICE, _LOSS = table(ModelMinute), table(DeviceMinute), table(NodeMinute)
# Rows held at once: adding them up keeps the event loop for some 50 ms.
_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class UsageChunk:
    """The use of models and devices in some whole minutes, and what nodes dropped in them."""

    models: list[ModelUse]
    devices: list[DeviceUse]
    dropped_samples: int


async def node_facts(connection: AsyncConnection, end_minute: int) -> dict[str, list[FactsChange]]:
    """What every node said of itself up to a minute, oldest first."""
    found = await connection.execute(
        select(_NODE.c.name, _FACTS.c.effective_minute, *(_FACTS.c[name] for name in FACTS_COLUMNS))
        .join(_NODE, _NODE.c.id == _FACTS.c.node)
        .where(_FACTS.c.effective_minute < end_minute)
        .order_by(_NODE.c.name, _FACTS.c.effective_minute)
    )
    history: dict[str, list[FactsChange]] = {}
    for node, minute, price, region, device, gpu_count, instance_type, spot in found:
        facts = Facts(price, region, device, gpu_count, instance_type, bool(spot))
        history.setdefault(node, []).append(FactsChange(minute, facts))
    return history


async def usage(connection: AsyncConnection, start_minute: int, end_minute: int) -> AsyncIterator[UsageChunk]:
    """Chunks of whole minutes from one minute until before another; minutes without telemetry are skipped."""
    bounds = await connection.execute(
        select(func.min(_DEVICE.c.minute), func.max(_DEVICE.c.minute))
        .where(_DEVICE.c.minute >= start_minute, _DEVICE.c.minute < end_minute)
        .union_all(
            select(func.min(_MODEL.c.minute), func.max(_MODEL.c.minute)).where(
                _MODEL.c.minute >= start_minute, _MODEL.c.minute < end_minute
            ),
            select(func.min(_LOSS.c.minute), func.max(_LOSS.c.minute)).where(
                _LOSS.c.minute >= start_minute, _LOSS.c.minute < end_minute
            ),
        )
    )
    present = [(first, last) for first, last in bounds if first is not None]
    if not present:
        return
    first, end = min(low for low, _ in present), max(high for _, high in present) + 1
    count = (await connection.execute(select(func.count()).select_from(_SERIES))).scalar_one()
    step = max(1, _ROWS // max(1, count))
    for at in range(first, end, step):
        yield await _chunk(connection, at, min(end, at + step))


async def _chunk(connection: AsyncConnection, start: int, end: int) -> UsageChunk:
    models = await connection.execute(
        select(
            _MODEL.c.minute,
            _NODE.c.name,
            _SERIES.c.name,
            _SERIES.c.version,
            *(_MODEL.c[name] for name in ("window_micros", "requests", "errors", "inferences")),
            *(_MODEL.c[name] for name in ("request_micros", "queue_micros", "compute_micros")),
        )
        .join(_SERIES, _SERIES.c.id == _MODEL.c.series)
        .join(_NODE, _NODE.c.id == _SERIES.c.node)
        .where(_MODEL.c.minute >= start, _MODEL.c.minute < end)
    )
    devices = await connection.execute(
        select(_DEVICE.c.minute, _NODE.c.name, _DEVICE.c.window_micros, _DEVICE.c.busy_micros)
        .join(_SERIES, _SERIES.c.id == _DEVICE.c.series)
        .join(_NODE, _NODE.c.id == _SERIES.c.node)
        .where(_DEVICE.c.minute >= start, _DEVICE.c.minute < end)
    )
    dropped = await connection.execute(
        select(func.coalesce(func.sum(_LOSS.c.dropped_samples), 0)).where(_LOSS.c.minute >= start, _LOSS.c.minute < end)
    )
    return UsageChunk(
        models=[ModelUse(*row) for row in models],
        devices=[DeviceUse(*row) for row in devices],
        dropped_samples=int(dropped.scalar_one()),
    )
