"""``inferno capacity`` against a mesh that answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1.capacity_pb2 import CapacityReport, CapacityStep, DeviceFigure
from inferno_runtime.errors import Unsupported
from tests.integration.inferno_cli.conftest import FakeMesh, Run


@pytest.fixture
def measured(fake: FakeMesh) -> FakeMesh:
    steps = [
        CapacityStep(batch=1, concurrency=1, requests_per_second=80, p99_micros=15_000, uncertainty=-1),
        CapacityStep(batch=8, concurrency=2, requests_per_second=90, p99_micros=27_500, uncertainty=0.04),
        CapacityStep(batch=8, concurrency=4, requests_per_second=99, p99_micros=19_000, failures=1),
    ]
    about: dict[str, Any] = {"node_id": "node-1", "hardware": "h", "hardware_name": "8 × EPYC", "configuration": "c"}
    fake.capacities = [
        CapacityReport(
            **about,
            measured_at=Timestamp(seconds=1_700_000_000),
            model="filetype",
            settings="1 instance",
            objective_micros=20_000,
            complete=True,
            steps=steps,
        ),
        CapacityReport(**about, measured_at=Timestamp(seconds=1_700_000_000), model="other", steps=steps[1:]),
    ]
    return fake


def test_capacity_is_the_best_step_within_the_objective_it_was_measured_for(run: Run, measured: FakeMesh) -> None:
    result = run("capacity", "--node", "node-1", "--model", "filetype")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    at = "2023-11-14T22:13"
    assert rows[0] == ["node-1", "filetype", "80", "80", "15", "20", "1", "1", at, "1", "instance", "8", "×", "EPYC"]
    assert rows[1] == [
        "node-1",
        "other",
        "90",
        "720",
        "27.5",
        "-",
        "8",
        "2",
        at,
        "(interrupted)",
        "-",
        "8",
        "×",
        "EPYC",
    ]
    assert (measured.seen[-1].node_id, measured.seen[-1].model) == ("node-1", "filetype")


def test_another_objective_gives_another_capacity_or_none(run: Run, measured: FakeMesh) -> None:
    first, other = json.loads(run("capacity", "--objective-p99", "30", "-o", "json").stdout)
    assert (first["capacity"]["inferences_per_second"], first["objective_ms"]) == (720, 30)
    assert [step["uncertainty"] for step in first["steps"]] == [None, 0.04, 0]
    assert other["files"] is None
    result = run("capacity", "--objective-p99", "1")
    assert result.stdout.splitlines()[1].split()[2:5] == ["-", "-", "-"]


def test_a_mesh_without_capacities_says_where_they_come_from(run: Run, fake: FakeMesh) -> None:
    assert "inferno backend bench" in run("capacity").stdout
    assert "inferno backend bench" in run("capacity", "--devices").stdout
    fake.bill_error = Unsupported("No.", reason="NO")
    result = run("capacity")
    assert result.exit_code == 1
    assert "keeps no capacities: its proxy knows no governator" in result.stderr


def test_devices_are_told_with_their_figures(run: Run, fake: FakeMesh) -> None:
    fake.devices = [
        DeviceFigure(
            node_id="node-1",
            measured_at=Timestamp(seconds=1_700_000_000),
            hardware="h",
            device_id="GPU-1",
            device_name="NVIDIA L4",
            figure="memory",
            value=251.2,
            unit="GB/s",
            spread=0.01,
            library="torch 2",
        )
    ]
    row = run("capacity", "--devices").stdout.splitlines()[1].split()
    assert row == ["node-1", "GPU-1", "NVIDIA", "L4", "memory", "251.2", "GB/s", "1%", "torch", "2", "2023-11-14T22:13"]
    (figure,) = json.loads(run("capacity", "--devices", "-o", "json").stdout)
    assert (figure["value"], figure["hardware_id"], figure["spread"]) == (251.2, "h", 0.01)
