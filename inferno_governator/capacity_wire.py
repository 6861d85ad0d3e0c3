"""Capacity reports between the wire and values, with everything impossible refused by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import capacity_pb2
from inferno_governator.capacity import Capacity, CapacityStep, CapacitySubject, DeviceFigure
from inferno_runtime.errors import InvalidInput

_Message = capacity_pb2.CapacityReport | capacity_pb2.DeviceFigure
MAX_REPORTS = 100
MAX_STEPS = 500
MAX_DEVICES = 1000
_MAX_COUNT = 2**48
_MAX_AHEAD_MICROS = 24 * 3_600_000_000
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# As in telemetry: PostgreSQL stores no NUL, and no name worth keeping holds control characters.
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{0,512}")
_REQUIRED = ("hardware", "model", "configuration")
_TEXTS = (*_REQUIRED, "hardware_name", "files", "settings", "triton_version")
_DEVICE_TEXTS = ("hardware", "device_id", "device_name", "figure", "unit", "library")
_COUNTS = ("requests", "failures", "p50_micros", "p95_micros", "p99_micros")


def decode_all(reports: Sequence[capacity_pb2.CapacityReport], now_micros: int) -> list[Capacity]:
    """The reports of one request as values, as :func:`decode` does.

    Raises:
        InvalidInput: A value is impossible, or they are too many.
    """
    if len(reports) > MAX_REPORTS:
        _refuse(reports[0], "reports", f"{len(reports)} are more than {MAX_REPORTS}")
    return [decode(each, now_micros) for each in reports]


def decode(wire: capacity_pb2.CapacityReport, now_micros: int) -> Capacity:
    """Turn a report into a value.

    Args:
        wire: The report as it arrived.
        now_micros: This machine's Unix time in microseconds.

    Raises:
        InvalidInput: A value is impossible; the sentence names the field.
    """
    _check_texts(wire, _TEXTS, _REQUIRED)
    measured = _measured(wire, now_micros)
    if wire.objective_micros > _MAX_COUNT:
        _refuse(wire, "objective_micros", f"{wire.objective_micros} is more than 2^48")
    if not 0 < len(wire.steps) <= MAX_STEPS:
        _refuse(wire, "steps", f"{len(wire.steps)} are not between 1 and {MAX_STEPS}")
    if len({(step.batch, step.concurrency) for step in wire.steps}) < len(wire.steps):
        _refuse(wire, "steps", "two have the same batch and concurrency")
    return Capacity(
        CapacitySubject(wire.node_id, wire.hardware, wire.model, wire.files, wire.configuration),
        measured,
        wire.hardware_name,
        wire.settings,
        wire.objective_micros,
        wire.triton_version,
        wire.complete,
        tuple(_step(wire, index, step) for index, step in enumerate(wire.steps)),
    )


def decode_devices(figures: Sequence[capacity_pb2.DeviceFigure], now_micros: int) -> list[DeviceFigure]:
    """The figures of devices of one request as values.

    Raises:
        InvalidInput: A value is impossible, or they are too many.
    """
    if len(figures) > MAX_DEVICES:
        _refuse(figures[0], "devices", f"{len(figures)} are more than {MAX_DEVICES}")
    return [_device(each, now_micros) for each in figures]


def _device(wire: capacity_pb2.DeviceFigure, now_micros: int) -> DeviceFigure:
    _check_texts(wire, _DEVICE_TEXTS, _DEVICE_TEXTS)
    measured = _measured(wire, now_micros)
    for name in ("value", "spread"):
        if not 0.0 <= getattr(wire, name) <= 1e12:
            _refuse(wire, name, f"{getattr(wire, name)} is not between 0 and 1e12")
    return DeviceFigure(
        wire.node_id,
        wire.device_id,
        wire.figure,
        wire.library,
        measured,
        wire.hardware,
        wire.device_name,
        wire.value,
        wire.unit,
        wire.spread,
    )


def encode_device(figure: DeviceFigure) -> capacity_pb2.DeviceFigure:
    """A figure as it goes out again."""
    return capacity_pb2.DeviceFigure(
        node_id=figure.node,
        measured_at=_timestamp(figure.measured_micros),
        hardware=figure.hardware,
        device_id=figure.device,
        device_name=figure.name,
        figure=figure.figure,
        value=figure.value,
        unit=figure.unit,
        spread=figure.spread,
        library=figure.library,
    )


def _check_texts(wire: _Message, texts: Sequence[str], required: Sequence[str]) -> None:
    if not _NODE_ID.fullmatch(wire.node_id):
        _refuse(wire, "node_id", f"{wire.node_id[:140]!r} is not 1 to 128 letters, digits, '.', '_' or '-'")
    for name in texts:
        if not _TEXT.fullmatch(getattr(wire, name)):
            _refuse(wire, name, f"{getattr(wire, name)[:40]!r} holds control characters or is longer than 512")
    for name in required:
        if not getattr(wire, name):
            _refuse(wire, name, "it is empty")


def _measured(wire: _Message, now_micros: int) -> int:
    measured = wire.measured_at.seconds * 1_000_000 + wire.measured_at.nanos // 1000
    if not 0 < measured <= now_micros + _MAX_AHEAD_MICROS:
        _refuse(wire, "measured_at", "it is before 1970 or more than a day ahead of this governator's clock")
    return measured


def _timestamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def _step(wire: capacity_pb2.CapacityReport, index: int, step: capacity_pb2.CapacityStep) -> CapacityStep:
    for name in ("batch", "concurrency"):
        if not 0 < getattr(step, name) <= 2**20:
            _refuse(wire, f"steps[{index}].{name}", f"{getattr(step, name)} is not between 1 and 2^20")
    for name in _COUNTS:
        if getattr(step, name) > _MAX_COUNT:
            _refuse(wire, f"steps[{index}].{name}", f"{getattr(step, name)} is more than 2^48")
    # Written so that NaN, which compares false with everything, is refused too.
    for name, least in (("requests_per_second", 0.0), ("uncertainty", -1.0), ("generator_cores", 0.0)):
        if not least <= getattr(step, name) <= 1e12:
            _refuse(wire, f"steps[{index}].{name}", f"{getattr(step, name)} is not between {least:g} and 1e12")
    return CapacityStep(
        step.batch,
        step.concurrency,
        step.requests,
        step.failures,
        step.requests_per_second,
        step.uncertainty,
        step.p50_micros,
        step.p95_micros,
        step.p99_micros,
        step.generator_cores,
    )


def encode(capacity: Capacity) -> capacity_pb2.CapacityReport:
    """A report as it goes out again."""
    subject = capacity.subject
    return capacity_pb2.CapacityReport(
        node_id=subject.node,
        measured_at=_timestamp(capacity.measured_micros),
        hardware=subject.hardware,
        hardware_name=capacity.hardware_name,
        model=subject.model,
        files=subject.files,
        configuration=subject.configuration,
        settings=capacity.settings,
        objective_micros=capacity.objective_micros,
        triton_version=capacity.triton_version,
        complete=capacity.complete,
        steps=[
            capacity_pb2.CapacityStep(
                batch=step.batch,
                concurrency=step.concurrency,
                requests=step.requests,
                failures=step.failures,
                requests_per_second=step.requests_per_second,
                uncertainty=step.uncertainty,
                p50_micros=step.p50_micros,
                p95_micros=step.p95_micros,
                p99_micros=step.p99_micros,
                generator_cores=step.generator_cores,
            )
            for step in capacity.steps
        ],
    )


def _refuse(wire: _Message, field: str, why: str) -> NoReturn:
    raise InvalidInput(
        f"A capacity report of node {wire.node_id[:140]!r} is refused: {field}: {why}.",
        reason="BAD_CAPACITY",
        fix="Measure again with a benchmark of this version.",
        metadata={"node_id": wire.node_id[:140], "field": field},
    )
