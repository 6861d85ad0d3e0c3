"""Store a group of batches in one transaction: samples, roll-ups, facts and positions, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.analysis import life
from inferno_governator.analysis.cost import DeviceUse, Gap, ModelUse
from inferno_governator.store import books, device_faults, device_rollups, facts, points, positions, requests
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.names import Names
from inferno_governator.store.positions import Position, Step, StreamNumber
from inferno_governator.store.rollups import MINUTE_MICROS, Fold, Row, split_by_minute, upsert
from inferno_governator.store.schema import DeviceSample, ModelMinute, ModelSample, NodeMinute, table
from inferno_governator.store.usage_reader import UsageChunk
from inferno_governator.usage import Batch, DevicePoint, Facts, SeriesKey

_MODEL_SAMPLE, _DEVICE_SAMPLE = table(ModelSample), table(DeviceSample)
_MODEL_MINUTE, _DEVICE_MINUTE, _NODE_MINUTE = table(ModelMinute), table(DeviceMinute), table(NodeMinute)
_MODEL_SUMS = [column.name for column in _MODEL_MINUTE.columns][2:-1]
_NODE_SUMS = ["dropped_samples", "missing_batches", "unmeasured_micros"]

# A batch that is new, the number of its node, and what it does to the stream's position.
Fresh = tuple[Batch, int, Step]


class Folded(NamedTuple):
    """Rows to add to the minutes of models, devices and nodes, each in the order of the table's columns."""

    models: list[Row]
    devices: list[Row]
    lost: list[Row]


# A node's name, what its agent says of it, and the minute from which it does; the same with its price.
Pricing = Callable[[str, Facts, int], Facts]


def as_reported(_node: str, facts: Facts, _minute: int) -> Facts:
    """The price that the agent was told, and no other."""
    return facts


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one batch: stored now, or a duplicate of one stored before."""

    new: bool
    missing_batches: int
    dropped_samples: int


async def ingest(
    connection: AsyncConnection,
    names: Names,
    draft: Names,
    batches: Sequence[Batch],
    now_micros: int,
    price: Pricing = as_reported,
) -> list[Stored]:
    """Write batches, in order, and say for each whether it was new.

    Args:
        connection: Inside a transaction that writes.
        names: Numbers known to be committed.
        draft: Takes the numbers found here; to be kept once the transaction is committed.
        batches: Batches of any number of streams.
        now_micros: Unix time in microseconds.
        price: Says what a node with such facts costs from a minute on.
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
    folded = await _write_samples(connection, series, fresh)
    stated = [
        facts.Statement(node, minute, price(batch.stream.node_id, batch.facts, minute))
        for batch, node, step in fresh
        for minute in (_said_from(batch, step) // MINUTE_MICROS,)
        if batch.facts is not None
    ]
    if stated:
        await facts.record(connection, stated)
    await device_faults.write(connection, [(node, batch.faults) for batch, node, _ in fresh])
    sealed = await books.sealed(connection, 1)
    asked = await requests.write(connection, names, draft, [batch.requests for batch, _, _ in fresh])
    await books.reopen_named(connection, {(use.minute, use.node) for use in asked if use.minute >= sealed})
    await _write_minutes(connection, series, fresh, folded, sealed)
    await books.claim_late(connection, [use for use in asked if use.minute < sealed])
    after = {stream: step.position for stream, step in zip(streams, steps, strict=True) if step.stored}
    await positions.save(connection, after, now_micros)
    return [Stored(step.stored, step.missing_batches, step.dropped_samples) for step in steps]


def _steps(batches: Sequence[Batch], streams: Sequence[StreamNumber], at: dict[StreamNumber, Position]) -> list[Step]:
    steps = []
    for batch, stream in zip(batches, streams, strict=True):
        before = at[stream]
        step = positions.advance(before, batch.sequence, batch.dropped_samples, consecutive=batch.consecutive)
        # What proxies count of requests does not measure a machine.
        if step.stored and (batch.models or batch.devices):
            lost = bool(step.missing_batches or step.dropped_samples)
            gap = life.unmeasured(stream.incarnation, before.last_micros, batch.first_micros, lost=lost)
            after = replace(step.position, last_micros=max(before.last_micros, batch.last_micros))
            step = replace(step, position=after, unmeasured=gap)
        at[stream] = step.position
        steps.append(step)
    return steps


def _said_from(batch: Batch, step: Step) -> int:
    """When what a batch says of its node begins to hold: with its samples, or with the life whose first they are, which
    is billed from its beginning on."""
    began = batch.stream.incarnation // 1000
    return began if step.unmeasured is not None and step.unmeasured[0] == began else batch.first_micros


async def _write_samples(
    connection: AsyncConnection,
    series: dict[tuple[int, SeriesKey], int],
    fresh: Sequence[Fresh],
) -> Folded:
    model_rows: list[Row] = []
    device_rows: list[Row] = []
    model_fold, device_fold, state_fold = Fold(maxima=1), Fold(maxima=2), Fold(maxima=4)
    token_fold = Fold(maxima=0)
    for batch, node, _ in fresh:
        for key, model_points in batch.models.items():
            number = series[node, key]
            model_rows += [(number, *point) for point in model_points]
            model_fold.add(number, model_points)
            if key in batch.tokens:
                token_fold.add(number, batch.tokens[key])
        for key, device_points in batch.devices.items():
            number = series[node, key]
            device_rows += [(number, *point) for point in device_points]
            device_fold.add(number, [_summable(point) for point in device_points])
        for key, state_points in batch.states.items():
            state_fold.add(series[node, key], state_points)
    await points.append(connection, _MODEL_SAMPLE, model_rows)
    await points.append(connection, _DEVICE_SAMPLE, device_rows)
    devices = device_rollups.joined(device_fold.rows(), state_fold.rows())
    return Folded(_with_tokens(model_fold.rows(), token_fold.rows()), devices, _lost(fresh))


def _with_tokens(models: Sequence[Row], tokens: Sequence[Row]) -> list[Row]:
    """Minutes of models with their tokens before the maximum."""
    counted = {row[:2]: row[3:] for row in tokens}
    return [(*row[:-1], *counted.get(row[:2], (0, 0)), row[-1]) for row in models]


def _summable(point: DevicePoint) -> Row:
    """A device's point as its minute adds it up: sums first, maxima last, and nothing of a use that is unknown."""
    end, window, busy, used, total, energy = point
    return (end, window, max(0, busy), energy, window if busy >= 0 else 0, used, total)


def _lost(fresh: Sequence[Fresh]) -> list[Row]:
    """Rows of what is missing: minute, node, dropped samples, missing batches, time unmeasured."""
    lost: dict[tuple[int, int], list[int]] = {}
    for batch, node, step in fresh:
        if step.dropped_samples or step.missing_batches:
            counts = lost.setdefault((batch.last_micros // MINUTE_MICROS, node), [0, 0, 0])
            counts[0] += step.dropped_samples
            counts[1] += step.missing_batches
        if step.unmeasured:
            start, end = step.unmeasured
            for until, length, _ in split_by_minute((end, end - start, end - start), 0):
                lost.setdefault(((until - 1) // MINUTE_MICROS, node), [0, 0, 0])[2] += length
    return [(*key, *counts) for key, counts in sorted(lost.items())]


async def _write_minutes(
    connection: AsyncConnection,
    series: dict[tuple[int, SeriesKey], int],
    fresh: Sequence[Fresh],
    folded: Folded,
    sealed: int,
) -> None:
    """Add to minutes, whose hours are open from now on; minutes of sealed hours are billed at once."""
    nodes = {node: batch.stream.node_id for batch, node, _ in fresh}
    subjects = {number: key for key, number in series.items()}
    late = UsageChunk(
        models=[_model_use(nodes, subjects, row) for row in folded.models if row[0] < sealed],
        devices=[_device_use(nodes, subjects, row) for row in folded.devices if row[0] < sealed],
        gaps=[Gap(row[0], nodes[row[1]], row[4]) for row in folded.lost if row[0] < sealed],
        callers=[],
        dropped_samples=0,
    )
    if late.models or late.devices or late.gaps:
        await books.add_late(connection, late, {name: number for number, name in nodes.items()})
        await device_rollups.add_late(connection, [row for row in folded.devices if row[0] < sealed])
    models, devices, lost = ([row for row in rows if row[0] >= sealed] for rows in folded)
    await _add(connection, _MODEL_MINUTE, models, _MODEL_SUMS, ["max_pending"])
    await _add(connection, _DEVICE_MINUTE, devices, device_rollups.SUMS, device_rollups.MAXIMA)
    await _add(connection, _NODE_MINUTE, folded.lost, _NODE_SUMS, [])
    touched = {(minute, subjects[number][0]) for minute, number, *_ in chain(models, devices)}
    await books.reopen(connection, touched | {(minute, node) for minute, node, _, _, unmeasured in lost if unmeasured})


def _model_use(nodes: Mapping[int, str], subjects: Mapping[int, tuple[int, SeriesKey]], row: Row) -> ModelUse:
    """A row of a model's minute as a value."""
    minute, number, window, requests, errors, inferences, _, *times, _ = row
    node, key = subjects[number]
    return ModelUse(minute, nodes[node], key.name, key.version, window, requests, errors, inferences, *times)


def _device_use(nodes: Mapping[int, str], subjects: Mapping[int, tuple[int, SeriesKey]], row: Row) -> DeviceUse:
    """A row of a device's minute as a value."""
    return DeviceUse(row[0], nodes[subjects[row[1]][0]], row[2], row[3], row[5])


async def _add(
    connection: AsyncConnection, target: Table, rows: Sequence[Row], sums: Sequence[str], maxima: Sequence[str]
) -> None:
    if rows:
        names = [column.name for column in target.columns]
        await connection.execute(
            upsert(connection.dialect, target, sums, maxima), [dict(zip(names, row, strict=True)) for row in rows]
        )
