"""``inferno cost devices`` against a mesh that answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import device_pb2, report_pb2
from inferno_runtime.errors import Unsupported
from tests.integration.inferno_cli.conftest import FakeMesh, Run


@pytest.fixture
def measured(fake: FakeMesh) -> FakeMesh:
    about: dict[str, Any] = {"start": Timestamp(seconds=1_700_006_400), "minutes": 1440, "node_id": "node-1"}
    gpu = device_pb2.DeviceUse(
        **about,
        device_id="GPU-1",
        kind="gpu",
        utilization=0.731,
        energy_joules=36_000_000,
        mean_power_watts=416.7,
        max_power_watts=700,
        mean_temperature_celsius=61.2,
        max_temperature_celsius=83,
        mean_sm_clock_mhz=1755,
        slowed_seconds=12,
        max_memory_used_bytes=61_200_000_000,
        xids=2,
    )
    fake.used = [gpu, device_pb2.DeviceUse(**about, device_id="cpu", kind="cpu")]
    return fake


def test_each_device_is_a_line_and_the_energy_is_added_up(run: Run, measured: FakeMesh) -> None:
    result = run("cost", "devices", "--period", "2026-10", "--node", "node-1")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[1] == ["node-1", "GPU-1", "73.1%", "61.2", "417", "700", "61", "83", "1755", "12", "0", "2", "10.000"]
    assert rows[2] == ["node-1", "cpu", "-", "0.0", "-", "-", "-", "-", "-", "0", "0", "0", "0.000"]
    assert rows[-1] == ["energy", "10.000", "kWh"]
    period = report_pb2.CostPeriod(name="2026-10")
    assert measured.seen[-1] == device_pb2.ListDeviceUseRequest(period=period, node_id="node-1")


def test_json_has_what_was_not_measured_as_null(run: Run, measured: FakeMesh) -> None:
    result = run("cost", "devices", "--step", "day", "--output", "json")
    told = json.loads(result.stdout)
    assert (told["energy_kwh"], [each["utilization"] for each in told["devices"]]) == (10, [0.731, None])
    assert told["devices"][0]["max_memory_used_bytes"] == 61_200_000_000
    assert told["devices"][1]["mean_power_watts"] is None
    assert measured.seen[-1].step == device_pb2.DEVICE_STEP_DAY
    assert "2023-11-15T00:00:00Z" in run("cost", "devices", "--step", "day").stdout


def test_a_mesh_without_a_governator_is_told_so(run: Run, fake: FakeMesh) -> None:
    fake.bill_error = Unsupported("No.", reason="NO", fix="No.")
    result = run("cost", "devices")
    assert result.exit_code != 0
    assert "keeps no use of devices" in result.stderr
    fake.bill_error = None
    assert run("cost", "devices").stdout == "No device was measured.\n"
