"""What was heard of nodes in the last minutes, as decisions need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store import facts, node_news
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.rollups import MINUTE_MICROS
from inferno_governator.store.schema import ModelMinute, ModelSample, Node, Series, table
from inferno_governator.usage import Facts

_NODE, _SERIES = table(Node), table(Series)
_SAMPLE, _MODEL, _DEVICE = table(ModelSample), table(ModelMinute), table(DeviceMinute)
# Microseconds: over which rates are taken, and in which the newest sample of every model lies.
RATE_MICROS = 60_000_000
_NEWEST_MICROS = 15_000_000
# Minutes over which use of devices is taken, and in which a model's last request is looked for.
_BUSY_MINUTES, _IDLE_MINUTES = 3, 120
# Microseconds for which a node that says nothing is remembered.
HEARD_MICROS = 3_600_000_000


@dataclass(frozen=True, slots=True)
class ModelSight:
    """A model on a node: requests and micro-seconds in the queue in the last minute, requests on it now, and the last
    minute that had one (0: none for two hours)."""

    requests: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    pending: int = 0
    last_minute: int = 0


@dataclass(frozen=True, slots=True)
class NodeSight:
    """A node: when it was heard last, what it said of itself, its models by name, how busy its devices are, 0 to 1."""

    heard_micros: int
    facts: Facts
    models: Mapping[str, ModelSight]
    busy: float


async def read(connection: AsyncConnection, now_micros: int) -> dict[str, NodeSight]:
    """Every node that was heard of within an hour, by name."""
    minute = now_micros // MINUTE_MICROS
    news = await node_news.read(connection, now_micros - HEARD_MICROS, minute)
    said = await facts.newest(connection)
    models = await _models(connection, now_micros)
    busy = await _busy(connection, minute - _BUSY_MINUTES)
    nothing: dict[str, ModelSight] = {}
    return {
        each.node: NodeSight(
            each.stored_micros, said[each.node].facts, models.get(each.node, nothing), busy.get(each.node, 0.0)
        )
        for each in news
        if each.node in said
    }


async def _models(connection: AsyncConnection, now_micros: int) -> dict[str, dict[str, ModelSight]]:
    of = _SAMPLE.join(_SERIES, _SERIES.c.id == _SAMPLE.c.series).join(_NODE, _NODE.c.id == _SERIES.c.node)
    key = (_NODE.c.name, _SERIES.c.name)
    sums = (func.sum(_SAMPLE.c[name]) for name in ("requests", "request_micros", "queue_micros"))
    lately = select(*key, *sums).select_from(of).where(_SAMPLE.c.time_micros > now_micros - RATE_MICROS).group_by(*key)
    done = {
        (node, model): (int(asked), int(took), int(waited))
        for node, model, asked, took, waited in await connection.execute(lately)
    }

    newest = (
        select(*key, _SERIES.c.id, _SAMPLE.c.time_micros, _SAMPLE.c.pending)
        .select_from(of)
        .where(_SAMPLE.c.time_micros > now_micros - _NEWEST_MICROS)
        .order_by(_SAMPLE.c.time_micros)
    )
    pending: dict[tuple[str, str], dict[int, int]] = {}
    for node, model, series, _, count in await connection.execute(newest):
        pending.setdefault((node, model), {})[series] = count

    busy_minutes = (
        select(_NODE.c.name, _SERIES.c.name, func.max(_MODEL.c.minute))
        .select_from(_MODEL.join(_SERIES, _SERIES.c.id == _MODEL.c.series).join(_NODE, _NODE.c.id == _SERIES.c.node))
        .where(_MODEL.c.minute >= now_micros // MINUTE_MICROS - _IDLE_MINUTES, _MODEL.c.requests > 0)
        .group_by(_NODE.c.name, _SERIES.c.name)
    )
    last = {(node, model): minute for node, model, minute in await connection.execute(busy_minutes)}

    found: dict[str, dict[str, ModelSight]] = {}
    for node, model in sorted({*done, *pending}):
        asked, took, waited = done.get((node, model), (0, 0, 0))
        now = sum(pending.get((node, model), {}).values())
        found.setdefault(node, {})[model] = ModelSight(asked, took, waited, now, last.get((node, model), 0))
    return found


async def _busy(connection: AsyncConnection, since_minute: int) -> dict[str, float]:
    """The busiest device of each node counts: it is what its requests wait for."""
    used = (
        select(_NODE.c.name, func.sum(_DEVICE.c.busy_micros), func.sum(_DEVICE.c.known_micros))
        .select_from(_DEVICE.join(_SERIES, _SERIES.c.id == _DEVICE.c.series).join(_NODE, _NODE.c.id == _SERIES.c.node))
        .where(_DEVICE.c.minute >= since_minute)
        .group_by(_NODE.c.name, _DEVICE.c.series)
    )
    found: dict[str, float] = {}
    for node, busy, known in await connection.execute(used):
        if known:
            found[node] = max(found.get(node, 0.0), min(1.0, float(busy) / float(known)))
    return found
