"""What was heard of nodes in the last minutes, as decisions need it."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.decisions.sights import RATE_MICROS, ModelSight, NodeSight
from inferno_governator.store import facts, node_news
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.rollups import MINUTE_MICROS
from inferno_governator.store.schema import ModelMinute, ModelSample, Node, Series, StreamPosition, table

_NODE, _SERIES, _STREAM = table(Node), table(Series), table(StreamPosition)
_SAMPLE, _MODEL, _DEVICE = table(ModelSample), table(ModelMinute), table(DeviceMinute)
# Microseconds in which the newest sample of every model lies.
_NEWEST_MICROS = 15_000_000
# A number of a life that is less than this, in microseconds, is no time (2001).
_EPOCH = 10**15
# Minutes over which use of devices is taken, and in which a model's last request is looked for.
_BUSY_MINUTES, _IDLE_MINUTES = 3, 120
# Microseconds for which a node that says nothing is remembered.
HEARD_MICROS = 3_600_000_000


async def read(connection: AsyncConnection, now_micros: int) -> dict[str, NodeSight]:
    """Every node that was heard of within an hour, by name."""
    minute = now_micros // MINUTE_MICROS
    news = await node_news.read(connection, now_micros - HEARD_MICROS, minute)
    said = await facts.newest(connection)
    models = await _models(connection, now_micros)
    busy = await _busy(connection, minute - _BUSY_MINUTES)
    born = await _born(connection, now_micros)
    nothing: dict[str, ModelSight] = {}
    return {
        each.node: NodeSight(
            each.stored_micros,
            born.get(each.node, 0),
            said[each.node].facts,
            models.get(each.node, nothing),
            busy.get(each.node, 0.0),
        )
        for each in news
        if each.node in said
    }


async def _born(connection: AsyncConnection, now_micros: int) -> dict[str, int]:
    """When nodes' newest lives began, where their numbers are Unix times in nanoseconds, as our nodes count."""
    newest = (
        select(_NODE.c.name, func.max(_STREAM.c.incarnation))
        .join(_NODE, _NODE.c.id == _STREAM.c.node)
        .where(_STREAM.c.stored_micros >= now_micros - HEARD_MICROS)
        .group_by(_NODE.c.name)
    )
    found = ((node, int(incarnation) // 1000) for node, incarnation in await connection.execute(newest))
    return {node: born for node, born in found if _EPOCH < born <= now_micros}


async def _models(connection: AsyncConnection, now_micros: int) -> dict[str, dict[str, ModelSight]]:
    of = _SAMPLE.join(_SERIES, _SERIES.c.id == _SAMPLE.c.series).join(_NODE, _NODE.c.id == _SERIES.c.node)
    key = (_NODE.c.name, _SERIES.c.name)
    sums = (func.sum(_SAMPLE.c[name]) for name in ("requests", "request_micros", "queue_micros", "compute_micros"))
    lately = select(*key, *sums).select_from(of).where(_SAMPLE.c.time_micros > now_micros - RATE_MICROS).group_by(*key)
    done = {
        (node, model): ModelSight(int(asked), int(took), int(waited), int(worked))
        for node, model, asked, took, waited, worked in await connection.execute(lately)
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
        sight = done.get((node, model), ModelSight())
        now = sum(pending.get((node, model), {}).values())
        found.setdefault(node, {})[model] = replace(sight, pending=now, last_minute=last.get((node, model), 0))
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
