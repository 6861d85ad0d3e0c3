"""Store a group of batches in one transaction: samples, roll-ups, facts and positions, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.store import facts, points, positions, requests
from inferno_governator.store.names import Names
from inferno_governator.store.positions import Position, Step, StreamNumber
from inferno_governator.store.rollups import MINUTE_MICROS, Fold, Row, upsert
from inferno_governator.store.schema import DeviceMinute, DeviceSample, ModelMinute, ModelSample, NodeMinute, table
from inferno_governator.usage import Batch, SeriesKey

_MODEL_SAMPLE, _DEVICE_SAMPLE = table(ModelSample), table(DeviceSample)
_MODEL_MINUTE, _DEVICE_MINUTE, _NODE_MINUTE = table(ModelMinute), table(DeviceMinute), table(NodeMinute)
_MODEL_SUMS = [column.name for column in _MODEL_MINUTE.columns][2:-1]
_DEVICE_SUMS = ["window_micros", "busy_micros", "energy_millijoules"]
_DEVICE_MAXIMA = ["max_memory_used_bytes", "max_memory_total_bytes"]
_NODE_SUMS = ["dropped_samples", "missing_batches"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one batch: stored now, or a duplicate of one stored before."""

    new: bool
    missing_batches: int
    dropped_samples: int


async def ingest(
    connection: AsyncConnection, names: Names, draft: Names, batches: Sequence[Batch], now_micros: int
) -> list[Stored]:
    """Write batches, in order, and say for each whether it was new.

    Args:
        connection: Inside a transaction that writes.
        names: Numbers known to be committed.
        draft: Takes the numbers found here; to be kept once the transaction is committed.
        batches: Batches of any number of streams.
        now_micros: Unix time in microseconds.
    """
    nodes = await names.number_nodes(connection, (batch.stream.node_id for batch in batches), draft)
    streams = [StreamNumber(nodes[batch.stream.node_id], batch.stream.incarnation) for batch in batches]
    steps = _steps(batches, streams, await positions.load(connection, streams))
    fresh = [
        (batch, stream.node, step) for batch, stream, step in zip(batches, streams, steps, strict=True) if step.stored
    ]
    series = await names.number_series(
        connection, ((node, key) for batch, node, _ in fresh for key in (*batch.models, *batch.devices)), draft
    )
    await _write_samples(connection, series, fresh)
    stated = [
        facts.Statement(node, batch.first_micros // MINUTE_MICROS, batch.facts)
        for batch, node, _ in fresh
        if batch.facts is not None
    ]
    if stated:
        await facts.record(connection, stated)
    await requests.write(connection, names, draft, [batch.requests for batch, _, _ in fresh])
    await _write_losses(connection, fresh)
    after = {stream: step.position for stream, step in zip(streams, steps, strict=True) if step.stored}
    await positions.save(connection, after, now_micros)
    return [Stored(step.stored, step.missing_batches, step.dropped_samples) for step in steps]


def _steps(batches: Sequence[Batch], streams: Sequence[StreamNumber], at: dict[StreamNumber, Position]) -> list[Step]:
    steps = []
    for batch, stream in zip(batches, streams, strict=True):
        step = positions.advance(at[stream], batch.sequence, batch.dropped_samples, consecutive=batch.consecutive)
        at[stream] = step.position
        steps.append(step)
    return steps


async def _write_samples(
    connection: AsyncConnection,
    series: dict[tuple[int, SeriesKey], int],
    fresh: Sequence[tuple[Batch, int, Step]],
) -> None:
    model_rows: list[Row] = []
    device_rows: list[Row] = []
    model_fold, device_fold = Fold(maxima=1), Fold(maxima=2)
    for batch, node, _ in fresh:
        for key, model_points in batch.models.items():
            number = series[node, key]
            model_rows += [(number, *point) for point in model_points]
            model_fold.add(number, model_points)
        for key, device_points in batch.devices.items():
            number = series[node, key]
            device_rows += [(number, *point) for point in device_points]
            # Sums first, maxima last: energy comes before memory in the roll-up.
            device_fold.add(number, [(*point[:3], point[5], point[3], point[4]) for point in device_points])
    await points.append(connection, _MODEL_SAMPLE, model_rows)
    await points.append(connection, _DEVICE_SAMPLE, device_rows)
    await _add(connection, _MODEL_MINUTE, model_fold.rows(), _MODEL_SUMS, ["max_pending"])
    await _add(connection, _DEVICE_MINUTE, device_fold.rows(), _DEVICE_SUMS, _DEVICE_MAXIMA)


async def _write_losses(connection: AsyncConnection, fresh: Sequence[tuple[Batch, int, Step]]) -> None:
    dropped: Counter[tuple[int, int]] = Counter()
    missing: Counter[tuple[int, int]] = Counter()
    for batch, node, step in fresh:
        key = (batch.last_micros // MINUTE_MICROS, node)
        dropped[key] += step.dropped_samples
        missing[key] += step.missing_batches
    rows = [(*key, dropped[key], missing[key]) for key in sorted(dropped) if dropped[key] or missing[key]]
    await _add(connection, _NODE_MINUTE, rows, _NODE_SUMS, [])


async def _add(
    connection: AsyncConnection, target: Table, rows: Sequence[Row], sums: Sequence[str], maxima: Sequence[str]
) -> None:
    if rows:
        names = [column.name for column in target.columns]
        await connection.execute(
            upsert(connection.dialect, target, sums, maxima), [dict(zip(names, row, strict=True)) for row in rows]
        )
