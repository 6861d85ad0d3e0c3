"""Read minute roll-ups as usage, in chunks that bound memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis.cost import DeviceUse, FactsChange, Gap, ModelUse, minute_items
from inferno_governator.analysis.items import Item
from inferno_governator.analysis.sharing import CallerUse, shared
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.fact_columns import COLUMNS
from inferno_governator.store.schema import (
    ModelMinute,
    Node,
    NodeFacts,
    NodeMinute,
    RequestMinute,
    RequestSeries,
    Series,
    table,
)
from inferno_governator.usage import Facts

_NODE, _FACTS, _SERIES = table(Node), table(NodeFacts), table(Series)
_MODEL, _DEVICE, _LOSS = table(ModelMinute), table(DeviceMinute), table(NodeMinute)
_ASKED, _ASKERS = table(RequestMinute), table(RequestSeries)
# In the order of the fields of CallerUse, after the minute.
_WHO = ("node", "model", "version", "team", "key")
_HOW_MUCH = (
    *("requests", "client_errors", "server_errors", "request_micros"),
    *("input_tokens", "output_tokens", "request_bytes", "response_bytes"),
)
_DEVICE_SUMS = ("window_micros", "busy_micros", "known_micros")
# Rows held at once: adding them up keeps the event loop for some 50 ms.
_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class UsageChunk:
    """The use of models and devices in some whole minutes, and what nodes dropped in them."""

    models: list[ModelUse]
    devices: list[DeviceUse]
    gaps: list[Gap]
    callers: list[CallerUse]
    dropped_samples: int

    def items(self, history: Mapping[str, Sequence[FactsChange]]) -> list[Item]:
        """What is billed of these minutes; ``history`` is what nodes said of themselves, oldest first."""
        made = minute_items(history, self.models, self.devices, self.gaps)
        return shared(made, self.callers, history) if self.callers else made


async def node_facts(
    connection: AsyncConnection, end_minute: int, nodes: Sequence[int] | None = None
) -> dict[str, list[FactsChange]]:
    """What nodes, by their numbers, said of themselves up to a minute, oldest first; None is every node."""
    wanted = (
        select(_NODE.c.name, _FACTS.c.effective_minute, *(_FACTS.c[name] for name in COLUMNS))
        .join(_NODE, _NODE.c.id == _FACTS.c.node)
        .where(_FACTS.c.effective_minute < end_minute)
        .order_by(_NODE.c.name, _FACTS.c.effective_minute)
    )
    found = await connection.execute(wanted if nodes is None else wanted.where(_NODE.c.id.in_(nodes)))
    history: dict[str, list[FactsChange]] = {}
    for node, minute, *values in found:
        history.setdefault(node, []).append(FactsChange(minute, Facts(*values)))
    return history


async def dropped(connection: AsyncConnection, start_minute: int, end_minute: int) -> int:
    """Samples that nodes dropped from one minute until before another."""
    within = _LOSS.c.minute >= start_minute, _LOSS.c.minute < end_minute
    found = await connection.execute(select(func.sum(_LOSS.c.dropped_samples)).where(*within))
    return int(found.scalar() or 0)


async def usage(
    connection: AsyncConnection, start_minute: int, end_minute: int, nodes: Sequence[int] | None = None
) -> AsyncIterator[UsageChunk]:
    """Chunks of whole minutes from one minute until before another, of nodes by their numbers; None is every node.
    Minutes without telemetry are skipped."""
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
        yield await whole(connection, at, min(end, at + step), nodes)


async def whole(connection: AsyncConnection, start: int, end: int, nodes: Sequence[int] | None = None) -> UsageChunk:
    """All that is known of nodes, by their numbers, from one minute until before another; None is every node."""

    def chosen(wanted: Select[Any]) -> Select[Any]:
        return wanted if nodes is None else wanted.where(_NODE.c.id.in_(nodes))

    models = await connection.execute(
        chosen(
            select(
                _MODEL.c.minute,
                _NODE.c.name,
                _SERIES.c.name,
                _SERIES.c.version,
                *(_MODEL.c[name] for name in ("window_micros", "requests", "errors", "inferences")),
                *(_MODEL.c[name] for name in ("request_micros", "queue_micros", "compute_micros")),
                *(_MODEL.c[name] for name in ("input_tokens", "output_tokens")),
            )
            .join(_SERIES, _SERIES.c.id == _MODEL.c.series)
            .join(_NODE, _NODE.c.id == _SERIES.c.node)
            .where(_MODEL.c.minute >= start, _MODEL.c.minute < end)
        )
    )
    devices = await connection.execute(
        chosen(
            select(
                _DEVICE.c.minute, _NODE.c.name, _DEVICE.c.window_micros, _DEVICE.c.busy_micros, _DEVICE.c.known_micros
            )
            .join(_SERIES, _SERIES.c.id == _DEVICE.c.series)
            .join(_NODE, _NODE.c.id == _SERIES.c.node)
            .where(_DEVICE.c.minute >= start, _DEVICE.c.minute < end)
        )
    )
    losses = await connection.execute(
        chosen(
            select(_LOSS.c.minute, _NODE.c.name, _LOSS.c.unmeasured_micros, _LOSS.c.dropped_samples)
            .join(_NODE, _NODE.c.id == _LOSS.c.node)
            .where(_LOSS.c.minute >= start, _LOSS.c.minute < end)
        )
    )
    lost = [(Gap(minute, node, unmeasured), dropped) for minute, node, unmeasured, dropped in losses]
    # Chosen by series: chosen by node, SQLite looks through all the minutes again for each node.
    named = select(_ASKERS.c.id).where(_ASKERS.c.node.in_(chosen(select(_NODE.c.name))))
    callers = await connection.execute(
        select(_ASKED.c.minute, *(_ASKERS.c[name] for name in _WHO), *(_ASKED.c[name] for name in _HOW_MUCH))
        .join(_ASKERS, _ASKERS.c.id == _ASKED.c.series)
        .where(_ASKED.c.minute >= start, _ASKED.c.minute < end, _ASKED.c.series.in_(named))
    )
    return UsageChunk(
        models=[ModelUse(*row) for row in models],
        devices=[DeviceUse(*row) for row in devices],
        gaps=[gap for gap, _ in lost if gap.micros],
        callers=[CallerUse(*row) for row in callers],
        dropped_samples=sum(dropped for _, dropped in lost),
    )
