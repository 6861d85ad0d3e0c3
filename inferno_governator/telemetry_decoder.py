"""A telemetry batch from the wire to a value, with everything impossible refused by name.

A sample that cannot be is left out and told of; the others of its batch are taken. Only a batch that cannot be placed
(whose node, life or number is impossible, or that is too large) is refused whole.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import NoReturn

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import telemetry_pb2, usage_pb2
from inferno_governator.device_decoder import decode_state
from inferno_governator.request_decoder import decode_requests
from inferno_governator.requests import RequestKey, RequestPoint
from inferno_governator.usage import (
    Batch,
    DevicePoint,
    Facts,
    Kind,
    ModelPoint,
    SeriesKey,
    StatePoint,
    StreamKey,
    TokenPoint,
)
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
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]+")
_LONGEST_FAULT = 512
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


# By name and version, and by kind and id: a plain tuple is made in half the time of a named one, for each sample.
_Models = dict[tuple[str, str], list[ModelPoint]]
_Tokens = dict[tuple[str, str], list[TokenPoint]]
_Devices = dict[tuple[Kind, str], list[DevicePoint]]
_States = dict[tuple[Kind, str], list[StatePoint]]
_Faults = dict[str, tuple[int, str]]


class _Impossible(Exception):
    """A value that cannot be. ``reason`` is one of :data:`REASONS`."""

    def __init__(self, reason: str, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.reason = reason


# Why samples are left out, as the governator's metrics name it. A node's facts count as a sample.
REASONS = ("time", "window", "name", "value", "kind", "facts")


def decode(
    wire: telemetry_pb2.TelemetryBatch, now_micros: int, *, most_samples: int = MAX_SAMPLES, consecutive: bool = True
) -> Batch:
    """Turn a batch into a value without the samples that are impossible; it says how many those are and why.

    Args:
        wire: The batch as it arrived.
        now_micros: This machine's Unix time in microseconds.
        most_samples: How many samples a batch may have.
        consecutive: False where its sequence is a time.

    Raises:
        InvalidInput: The batch cannot be placed; the sentence names the batch and the field.
    """
    _refuse_unplaceable(wire, most_samples)
    models: _Models = {}
    tokens: _Tokens = {}
    devices: _Devices = {}
    states: _States = {}
    faults: _Faults = {}
    requests: dict[RequestKey, list[RequestPoint]] = {}
    refused: Counter[str] = Counter()
    refusal = ""
    facts: Facts | None = None
    try:
        facts = _facts(wire.facts) if wire.HasField("facts") else None
    except _Impossible as impossible:
        refused["facts"] += 1
        refusal = str(impossible)
    earliest, latest = now_micros - MAX_BEHIND_MICROS, now_micros + MAX_AHEAD_MICROS
    first, last = latest, 0
    for index, sample in enumerate(wire.samples):
        time, length = sample.time, sample.window
        end = time.seconds * 1_000_000 + time.nanos // 1000
        window = length.seconds * 1_000_000 + length.nanos // 1000
        try:
            if not earliest <= end <= latest:
                _refuse_time(time, now_micros)
            if not 0 < window <= MAX_WINDOW_MICROS:
                _refuse_window(length)
            measurement = sample.WhichOneof("measurement")
            if measurement == "model":
                _model(sample.model, (end, window), models, tokens)
            elif measurement == "device":
                _device(sample.device, (end, window), devices, states, faults)
            elif measurement == "requests":
                _requests(sample.requests, (end, window), requests)
            else:
                raise _Impossible("kind", "measurement", "it measures neither a model nor a device nor requests")
        except _Impossible as impossible:
            refused[impossible.reason] += 1
            refusal = refusal or f"samples[{index}].{impossible}"
            continue
        first, last = min(first, end - window), max(last, end)
    taken = bool(models or devices or requests)
    return Batch(
        stream=StreamKey(wire.node_id, wire.incarnation),
        sequence=wire.sequence,
        models={SeriesKey("model", *key): points for key, points in models.items()},
        devices={SeriesKey(*key, ""): points for key, points in devices.items()},
        tokens={SeriesKey("model", *key): points for key, points in tokens.items()},
        sample_count=len(wire.samples) - refused.total() + refused["facts"],
        facts=facts,
        dropped_samples=wire.dropped_samples,
        requests=requests,
        first_micros=first if taken else now_micros,
        last_micros=last if taken else now_micros,
        refused=refused,
        refusal=refusal,
        faults=faults,
        states={SeriesKey(*key, ""): points for key, points in states.items()},
        consecutive=consecutive,
    )


def _refuse_unplaceable(wire: telemetry_pb2.TelemetryBatch, most_samples: int) -> None:
    if not _NODE_ID.fullmatch(wire.node_id):
        _refuse(wire, "node_id", f"{wire.node_id[:140]!r} is not 1 to 128 letters, digits, '.', '_' or '-'")
    if not 0 < wire.incarnation <= _MAX_INT64:
        _refuse(wire, "incarnation", f"{wire.incarnation} is not between 1 and 2^63-1")
    if not 0 < wire.sequence <= _MAX_INT64:
        _refuse(wire, "sequence", f"{wire.sequence} is not between 1 and 2^63-1")
    if wire.dropped_samples > MAX_COUNT:
        _refuse(wire, "dropped_samples", f"{wire.dropped_samples} is more than 2^48")
    count = len(wire.samples)
    if count > most_samples:
        _refuse(wire, "samples", f"{count} are more than {most_samples}")


def _model(
    model: telemetry_pb2.ModelSample,
    when: tuple[int, int],
    models: _Models,
    tokens: _Tokens,
) -> None:
    key = (model.model, model.version)
    points = models.get(key)
    if points is None:
        _check_name("model.model", model.model, required=True)
        _check_name("model.version", model.version)
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
        raise _Impossible("value", f"model.{name}", f"{max(counters)} is more than 2^48")
    if model.input_tokens or model.output_tokens:
        name, most = max(
            (("input_tokens", model.input_tokens), ("output_tokens", model.output_tokens)), key=lambda each: each[1]
        )
        if most > MAX_COUNT:
            raise _Impossible("value", f"model.{name}", f"{most} is more than 2^48")
        tokens.setdefault(key, []).append((*when, model.input_tokens, model.output_tokens))
    if points is None:
        points = models[key] = []
    points.append((*when, *counters))


def _device(
    device: telemetry_pb2.DeviceSample,
    when: tuple[int, int],
    devices: _Devices,
    states: _States,
    faults: _Faults,
) -> None:
    kind: Kind = "gpu" if device.kind == "gpu" else "cpu"
    key = (kind, device.device_id)
    points = devices.get(key)
    if kind == "cpu" and device.kind != "cpu":
        raise _Impossible("kind", "device.kind", f"{device.kind[:40]!r} is neither 'cpu' nor 'gpu'")
    if points is None:
        _check_name("device.device_id", device.device_id, required=True)
    utilization, energy = device.utilization, device.energy_joules
    # Written so that NaN, which compares false with everything, is refused too.
    if not 0.0 <= utilization <= 1.0:
        raise _Impossible("value", "device.utilization", f"{utilization} is not between 0 and 1")
    if not 0.0 <= energy <= MAX_COUNT / 1000:
        raise _Impossible("value", "device.energy_joules", f"{energy} is not between 0 and 2^48 mJ")
    used, total = device.memory_used_bytes, device.memory_total_bytes
    if max(used, total) > MAX_COUNT:
        raise _Impossible("value", "device.memory_total_bytes", f"{max(used, total)} is more than 2^48")
    # An Xid of a device that tells neither comes with a fault.
    if device.power_watts or device.temperature_celsius or device.sm_clock_mhz or device.fault:
        state = decode_state(device, when, _refuse_state)
        states.setdefault(key, []).append(state)
        # A device that does not count its energy: as if its power had been the same for the whole window.
        energy = energy or device.power_watts * when[1] / 1_000_000
        if device.fault:
            _fault(device, when[0], faults)
    if points is None:
        points = devices[key] = []
    busy = -1 if device.utilization_unknown else round(utilization * when[1])
    points.append((*when, busy, used, total, round(energy * 1000)))


def _refuse_state(field: str, why: str) -> NoReturn:
    raise _Impossible("value", f"device.{field}", why)


def _fault(device: telemetry_pb2.DeviceSample, end: int, faults: _Faults) -> None:
    """Keep the newest word of why a device can do no work, as one line that is not too long."""
    said = _UNSEEN.sub(" ", device.fault[:_LONGEST_FAULT])
    faults[device.device_id] = max(faults.get(device.device_id, (0, "")), (end, said))


def _requests(
    sample: usage_pb2.RequestSample, when: tuple[int, int], requests: dict[RequestKey, list[RequestPoint]]
) -> None:
    def check_name(field: str, text: str) -> None:
        _check_name(f"requests.{field}", text)

    def refuse(field: str, why: str) -> NoReturn:
        raise _Impossible("value", f"requests.{field}", why)

    decode_requests(sample, when, requests, check_name, refuse)


def _facts(facts: telemetry_pb2.NodeFacts) -> Facts:
    price = facts.price_micros_per_hour
    if not 0 <= price <= MAX_COUNT:
        raise _Impossible("facts", "facts.price_micros_per_hour", f"{price} is not between 0 and 2^48")
    if facts.gpu_count > 2**20:
        raise _Impossible("facts", "facts.gpu_count", f"{facts.gpu_count} is more than 2^20")
    for name in ("region", "device", "instance_type", "provider"):
        _check_name(f"facts.{name}", getattr(facts, name), reason="facts")
    return Facts(
        price,
        facts.region,
        facts.device,
        facts.gpu_count,
        facts.instance_type,
        facts.spot,
        facts.provider,
        reported=price,
        origin="reported" if price else "unpriced",
    )


def _check_name(field: str, text: str, *, required: bool = False, reason: str = "name") -> None:
    if not _NAME.fullmatch(text):
        raise _Impossible(reason, field, f"{text[:40]!r} holds control characters or is longer than 256")
    if required and not text:
        raise _Impossible(reason, field, "it is empty")


def _refuse_time(time: Timestamp, now_micros: int) -> NoReturn:
    now = datetime.fromtimestamp(now_micros / 1_000_000, UTC).isoformat(timespec="seconds")
    try:
        shown = time.ToJsonString()
    except ValueError:  # Outside the years a Timestamp may name.
        shown = f"{time.seconds} s"
    raise _Impossible(
        "time",
        "time",
        f"{shown} is more than a day ahead of this governator's clock ({now}) or more than 31 days behind it: set the "
        "node's clock",
    )


def _refuse_window(window: Duration) -> NoReturn:
    shown = window.seconds + window.nanos / 1e9
    raise _Impossible("window", "window", f"{shown:g} s is not above 0 and at most one hour")


def _refuse(wire: telemetry_pb2.TelemetryBatch, field: str, why: str) -> NoReturn:
    raise InvalidInput(
        f"Batch {wire.sequence} of node {wire.node_id[:140]!r} is refused: {field}: {why}.",
        reason="BAD_TELEMETRY",
        fix="Drop this batch and go on with the next one; the sender's measurement is broken.",
        metadata={"node_id": wire.node_id[:140], "sequence": str(wire.sequence), "field": field},
    )
