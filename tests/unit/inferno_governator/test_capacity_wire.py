"""Capacity reports: back and forth unchanged, and everything impossible refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1.capacity_pb2 import CapacityReport, CapacityStep, DeviceFigure
from inferno_governator.capacity_wire import (
    MAX_DEVICES,
    MAX_REPORTS,
    MAX_STEPS,
    decode,
    decode_all,
    decode_devices,
    encode,
    encode_device,
)
from inferno_runtime.errors import InvalidInput

NOW = 1_760_000_000


def step(**fields: Any) -> CapacityStep:
    return CapacityStep(
        **{
            "batch": 1,
            "concurrency": 2,
            "requests": 100,
            "requests_per_second": 50.5,
            "uncertainty": -1.0,
            "p50_micros": 9,
            "p95_micros": 10,
            "p99_micros": 11,
            "generator_cores": 0.25,
            **fields,
        }
    )


def report(*steps: CapacityStep, **fields: Any) -> CapacityReport:
    given = {
        "node_id": "n",
        "measured_at": Timestamp(seconds=NOW, nanos=5000),
        "hardware": "h",
        "hardware_name": "8 × EPYC",
        "model": "m",
        "configuration": "c",
        "settings": "1 instance",
        "objective_micros": 20_000,
        "triton_version": "2.51.0",
        "complete": True,
        "steps": steps or [step()],
    }
    return CapacityReport(**{**given, **fields})


def test_a_report_comes_back_as_it_went() -> None:
    sent = report(step(), step(concurrency=4, failures=3))
    decoded = decode(sent, NOW * 1_000_000)
    assert decoded.measured_micros == NOW * 1_000_000 + 5
    assert encode(decoded) == sent


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (report(node_id="a b"), "node_id: 'a b' is not"),
        (report(model=""), "model: it is empty"),
        (report(hardware=""), "hardware: it is empty"),
        (report(configuration=""), "configuration: it is empty"),
        (report(settings="a\0b"), "settings: .* control characters"),
        (report(files="f" * 513), "files: .* longer than 512"),
        (report(measured_at=Timestamp()), "measured_at: it is before 1970"),
        (report(measured_at=Timestamp(seconds=NOW + 90_000)), "measured_at: .* more than a day ahead"),
        (report(objective_micros=2**49), r"objective_micros: .* more than 2\^48"),
        (report(steps=[]), "steps: 0 are not between 1 and 500"),
        (report(*[step(concurrency=1 + n) for n in range(MAX_STEPS + 1)]), "steps: 501 are not"),
        (report(step(), step()), "steps: two have the same"),
        (report(step(batch=0)), r"steps\[0\]\.batch: 0 is not between"),
        (report(step(concurrency=2**20 + 1)), r"steps\[0\]\.concurrency"),
        (report(step(requests=2**49)), r"steps\[0\]\.requests"),
        (report(step(requests_per_second=math.nan)), r"steps\[0\]\.requests_per_second: nan is not"),
        (report(step(uncertainty=math.inf)), r"steps\[0\]\.uncertainty: inf is not"),
        (report(step(generator_cores=-0.1)), r"steps\[0\]\.generator_cores"),
    ],
)
def test_what_is_impossible_is_refused_by_name(wrong: CapacityReport, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"is refused: {says}"):
        decode(wrong, NOW * 1_000_000)


def test_too_many_reports_are_refused_together() -> None:
    now = NOW * 1_000_000
    assert len(decode_all([report()] * MAX_REPORTS, now)) == MAX_REPORTS
    with pytest.raises(InvalidInput, match="reports: 101 are more than 100"):
        decode_all([report()] * (MAX_REPORTS + 1), now)


def figure(**fields: Any) -> DeviceFigure:
    given = {
        "node_id": "n",
        "measured_at": Timestamp(seconds=NOW),
        "hardware": "h",
        "device_id": "GPU-1",
        "device_name": "NVIDIA L4",
        "figure": "memory",
        "value": 251.5,
        "unit": "GB/s",
        "spread": 0.25,
        "library": "torch 2",
    }
    return DeviceFigure(**{**given, **fields})


def test_a_figure_of_a_device_comes_back_as_it_went() -> None:
    (decoded,) = decode_devices([figure()], NOW * 1_000_000)
    assert encode_device(decoded) == figure()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (figure(node_id=""), "node_id"),
        (figure(device_id=""), "device_id: it is empty"),
        (figure(library="a\nb"), "library: .* control characters"),
        (figure(measured_at=Timestamp()), "measured_at"),
        (figure(value=math.nan), "value: nan"),
        (figure(spread=-0.1), "spread: -0.1"),
    ],
)
def test_an_impossible_figure_is_refused_by_name(wrong: DeviceFigure, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"is refused: {says}"):
        decode_devices([wrong], NOW * 1_000_000)


def test_too_many_figures_are_refused_together() -> None:
    with pytest.raises(InvalidInput, match="devices: 1001 are more than 1000"):
        decode_devices([figure()] * (MAX_DEVICES + 1), NOW * 1_000_000)
