"""Faults outlive the agent that found them, as long as the same Triton runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from inferno_backend.hardware.examination import Examination
from inferno_backend.hardware.fault_file import FaultFile
from inferno_backend.hardware.use import DeviceReading, Use
from inferno_backend.node import Gpu

GPU = Gpu("GPU-1", "Tesla T4", 1)
WELL, LOST = Use("GPU-1", "gpu"), Use("GPU-1", "gpu", xids={79: 1})
HIT = Use("GPU-1", "gpu", xids={94: 1})


# Two processes that run as long as the test does.
TRITON, OTHER = os.getppid(), os.getpid()


def agent(path: Path, *uses: Use, pid: int) -> dict[str, str]:
    """One life of an agent: the GPUs that are out after it has seen these uses."""
    examination = Examination((GPU,), 30.0, FaultFile(path))
    found: dict[str, str] = {}
    for at, use in enumerate(uses):
        found = dict(examination.take(DeviceReading(at, at, (use,)), pid))
    return found


@pytest.mark.parametrize("broken", [LOST, HIT])
def test_the_next_agent_beside_the_same_triton_knows_what_the_last_one_found(tmp_path: Path, broken: Use) -> None:
    file = tmp_path / "faults.json"
    found = agent(file, WELL, broken, pid=TRITON)
    assert list(found) == ["GPU-1"]
    # Before its Triton is there, an agent cannot know.
    assert agent(file, WELL, pid=0) == {}
    with capture_logs() as told:
        assert agent(file, WELL, WELL, pid=TRITON) == found
    assert [line["event"] for line in told] == ["a GPU can do no work since an earlier agent"]
    assert agent(file, WELL, pid=OTHER) == {}, "beside another Triton the GPU may have been reset"
    assert not file.exists()


def test_a_fault_goes_along_with_the_tritons_that_the_agent_starts(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    examination = Examination((GPU,), 30.0, FaultFile(file))
    assert examination.take(DeviceReading(0, 0, (LOST,)), OTHER)
    assert examination.take(DeviceReading(1, 1, (LOST,)), TRITON)
    assert agent(file, WELL, pid=TRITON)


def test_what_ends_by_itself_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    assert agent(file, Use("GPU-1", "gpu", recovery="gpu_reset"), pid=TRITON)
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"triton": "LIFE"}', '{"triton": "LIFE", "faults": {"GPU-1": 1}}'])
def test_a_file_that_cannot_be_read_is_said_and_left(tmp_path: Path, content: str) -> None:
    file = tmp_path / "faults.json"
    agent(file, LOST, pid=TRITON)
    file.write_text(content.replace("LIFE", json.loads(file.read_bytes())["triton"]))
    with capture_logs() as told:
        assert FaultFile(file).recall(TRITON) == {}
    assert [line["event"] for line in told] == ["the faults of an earlier agent cannot be read"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with capture_logs() as told:
        assert agent(tmp_path / "none" / "faults.json", LOST, pid=TRITON)
    assert "faults cannot be kept for a next agent" in [line["event"] for line in told]
