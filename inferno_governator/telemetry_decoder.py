"""A telemetry batch from the wire to a value, with everything impossible refused by name."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NoReturn

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import telemetry_pb2, usage_pb2
from inferno_governator.request_decoder import decode_requests
from inferno_governator.requests import RequestKey, RequestPoint
from inferno_governator.usage import Batch, DevicePoint, Facts, Kind, ModelPoint, SeriesKey, StreamKey
from inferno_runtime.errors import InvalidInput

MAX_SAMPLES = 500
MAX_WINDOW_MICROS = 3_600_000_000
# A node's clock may be off, but not by this much: the sample would land in a bill nobody asks for any more.
MAX_AHEAD_MICROS = 24 * 3_600_000_000
MAX_BEHIND_MICROS = 31 * 24 * 3_600_000_000
# No counter of one window comes near it, and 32,000 of them still add up within 64 bits.
MAX_COUNT = 2**48
_MAX_INT64 = 2**63 - 1
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# PostgreSQL stores no NUL, and no name worth billing holds control characters.
_NAME = re.compile(r"[^\x00-\x1f\x7f]{0,256}")
_COUNTERS = (
    "requests",
    "errors",
    "inferences",
    "executions",
    "request_micros",
    "queue_micros",
    "compute_micros",
    "pending",
)


def decode(wire: telemetry_pb2.TelemetryBatch, now_micros: int) -> Batch:
    """Turn a batch into a value.

    Args:
        wire: The batch as it arrived.
        now_micros: This machine's Unix time in microseconds.

    Raises:
        InvalidInput: A value is impossible; the sentence names the batch and the field.
    """
    stream = StreamKey(wire.node_id, wire.incarnation)
    if not _NODE_ID.fullmatch(stream.node_id):
        _refuse(wire, "node_id", f"{stream.node_id[:140]!r} is not 1 to 128 letters, digits, '.', '_' or '-'")
    if not 0 < stream.incarnation <= _MAX_INT64:
        _refuse(wire, "incarnation", f"{stream.incarnation} is not between 1 and 2^63-1")
    if not 0 < wire.sequence <= _MAX_INT64:
        _refuse(wire, "sequence", f"{wire.sequence} is not between 1 and 2^63-1")
    if wire.dropped_samples > MAX_COUNT:
        _refuse(wire, "dropped_samples", f"{wire.dropped_samples} is more than 2^48")
    count = len(wire.samples)
    if count > MAX_SAMPLES:
        _refuse(wire, "samples", f"{count} are more than {MAX_SAMPLES}")
    models: dict[SeriesKey, list[ModelPoint]] = {}
    devices: dict[SeriesKey, list[DevicePoint]] = {}
    requests: dict[RequestKey, list[RequestPoint]] = {}
    earliest, latest = now_micros - MAX_BEHIND_MICROS, now_micros + MAX_AHEAD_MICROS
    first, last = latest, 0
    for index, sample in enumerate(wire.samples):
        time, length = sample.time, sample.window
        end = time.seconds * 1_000_000 + time.nanos // 1000
        window = length.seconds * 1_000_000 + length.nanos // 1000
        if not earliest <= end <= latest:
            _refuse_time(wire, index, time, now_micros)
        if not 0 < window <= MAX_WINDOW_MICROS:
            _refuse_window(wire, index, length)
        first, last = min(first, end - window), max(last, end)
        measurement = sample.WhichOneof("measurement")
        if measurement == "model":
            _model(wire, index, sample.model, (end, window), models)
        elif measurement == "device":
            _device(wire, index, sample.device, (end, window), devices)
        elif measurement == "requests":
            _requests(wire, index, sample.requests, (end, window), requests)
        else:
            _refuse(wire, f"samples[{index}]", "measures neither a model nor a device nor requests")
    return Batch(
        stream=stream,
        sequence=wire.sequence,
        models=models,
        devices=devices,
        sample_count=count,
        facts=_facts(wire) if wire.HasField("facts") else None,
        dropped_samples=wire.dropped_samples,
        first_micros=first if count else now_micros,
        last_micros=last if count else now_micros,
        requests=requests,
    )


def _model(
    wire: telemetry_pb2.TelemetryBatch,
    index: int,
    model: telemetry_pb2.ModelSample,
    when: tuple[int, int],
    models: dict[SeriesKey, list[ModelPoint]],
) -> None:
    key = SeriesKey("model", model.model, model.version)
    points = models.get(key)
    if points is None:
        _check_name(wire, f"samples[{index}].model.model", model.model, required=True)
        _check_name(wire, f"samples[{index}].model.version", model.version)
        points = models[key] = []
    counters = (
        model.requests,
        model.errors,
        model.inferences,
        model.executions,
        model.request_micros,
        model.queue_micros,
        model.compute_micros,
        model.pending,
    )
    if max(counters) > MAX_COUNT:
        name = _COUNTERS[counters.index(max(counters))]
        _refuse(wire, f"samples[{index}].model.{name}", f"{max(counters)} is more than 2^48")
    points.append((*when, *counters))


def _device(
    wire: telemetry_pb2.TelemetryBatch,
    index: int,
    device: telemetry_pb2.DeviceSample,
    when: tuple[int, int],
    devices: dict[SeriesKey, list[DevicePoint]],
) -> None:
    if device.kind not in {"cpu", "gpu"}:
        _refuse(wire, f"samples[{index}].device.kind", f"{device.kind[:40]!r} is neither 'cpu' nor 'gpu'")
    kind: Kind = "gpu" if device.kind == "gpu" else "cpu"
    key = SeriesKey(kind, device.device_id, "")
    points = devices.get(key)
    if points is None:
        _check_name(wire, f"samples[{index}].device.device_id", device.device_id, required=True)
        points = devices[key] = []
    utilization, energy = device.utilization, device.energy_joules
    # Written so that NaN, which compares false with everything, is refused too.
    if not 0.0 <= utilization <= 1.0:
        _refuse(wire, f"samples[{index}].device.utilization", f"{utilization} is not between 0 and 1")
    if not 0.0 <= energy <= MAX_COUNT / 1000:
        _refuse(wire, f"samples[{index}].device.energy_joules", f"{energy} is not between 0 and 2^48 mJ")
    used, total = device.memory_used_bytes, device.memory_total_bytes
    if max(used, total) > MAX_COUNT:
        _refuse(wire, f"samples[{index}].device.memory_total_bytes", f"{max(used, total)} is more than 2^48")
    points.append((*when, round(utilization * when[1]), used, total, round(energy * 1000)))


def _requests(
    wire: telemetry_pb2.TelemetryBatch,
    index: int,
    sample: usage_pb2.RequestSample,
    when: tuple[int, int],
    requests: dict[RequestKey, list[RequestPoint]],
) -> None:
    def named(field: str) -> str:
        return f"samples[{index}].requests.{field}"

    def check_name(field: str, text: str) -> None:
        _check_name(wire, named(field), text)

    def refuse(field: str, why: str) -> NoReturn:
        _refuse(wire, named(field), why)

    decode_requests(sample, when, requests, check_name, refuse)


def _facts(wire: telemetry_pb2.TelemetryBatch) -> Facts:
    facts = wire.facts
    price = facts.price_micros_per_hour
    if not 0 <= price <= MAX_COUNT:
        _refuse(wire, "facts.price_micros_per_hour", f"{price} is not between 0 and 2^48")
    if facts.gpu_count > 2**20:
        _refuse(wire, "facts.gpu_count", f"{facts.gpu_count} is more than 2^20")
    for name, text in (("region", facts.region), ("device", facts.device), ("instance_type", facts.instance_type)):
        _check_name(wire, f"facts.{name}", text)
    return Facts(price, facts.region, facts.device, facts.gpu_count, facts.instance_type, facts.spot)


def _check_name(wire: telemetry_pb2.TelemetryBatch, field: str, text: str, *, required: bool = False) -> None:
    if not _NAME.fullmatch(text):
        _refuse(wire, field, f"{text[:40]!r} holds control characters or is longer than 256")
    if required and not text:
        _refuse(wire, field, "it is empty")


def _refuse_time(wire: telemetry_pb2.TelemetryBatch, index: int, time: Timestamp, now_micros: int) -> NoReturn:
    now = datetime.fromtimestamp(now_micros / 1_000_000, UTC).isoformat(timespec="seconds")
    try:
        shown = time.ToJsonString()
    except ValueError:  # Outside the years a Timestamp may name.
        shown = f"{time.seconds} s"
    _refuse(
        wire,
        f"samples[{index}].time",
        f"{shown} is more than a day ahead of this governator's clock ({now}) or more than 31 days behind it",
        fix="Set the node's clock.",
    )


def _refuse_window(wire: telemetry_pb2.TelemetryBatch, index: int, window: Duration) -> NoReturn:
    shown = window.seconds + window.nanos / 1e9
    _refuse(wire, f"samples[{index}].window", f"{shown:g} s is not above 0 and at most one hour")


def _refuse(wire: telemetry_pb2.TelemetryBatch, field: str, why: str, fix: str = "") -> NoReturn:
    raise InvalidInput(
        f"Batch {wire.sequence} of node {wire.node_id[:140]!r} is refused: {field}: {why}.",
        reason="BAD_TELEMETRY",
        fix=fix or "Drop this batch and go on with the next one; the sender's measurement is broken.",
        metadata={"node_id": wire.node_id[:140], "sequence": str(wire.sequence), "field": field},
    )
