"""The CPUs as a device, and what control groups allow of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from inferno_backend.hardware import cgroup
from inferno_backend.hardware.cgroup import Limits, limits, memory_used
from inferno_backend.hardware.cpu import CpuProbe, model


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


def test_the_cpus_are_one_device_and_triton_is_told_with_its_children() -> None:
    (use,) = CpuProbe().uses(os.getpid())
    assert (use.device_id, use.kind) == ("cpu", "cpu")
    assert use.utilization is not None
    assert 0 <= use.utilization <= 1
    assert 0 < use.memory_used_bytes <= use.memory_total_bytes
    assert use.load_average is not None
    assert use.load_average >= 0
    (this,) = [one for one in use.processes if one.pid == os.getpid()]
    assert this.memory_bytes is not None
    assert this.memory_bytes > 1_000_000
    assert use.energy_joules is None


def test_without_a_triton_of_ours_no_process_is_told() -> None:
    probe = CpuProbe()
    assert probe.gpus() == ()
    for pid in (0, 2**22):  # none, and one beyond the largest there is
        (use,) = probe.uses(pid)
        assert use.processes == ()


def test_a_process_that_has_ended_is_left_out() -> None:
    probe = CpuProbe()
    child = subprocess.Popen(["sleep", "100"])
    try:
        assert child.pid in {one.pid for one in probe.uses(os.getpid())[0].processes}
    finally:
        child.kill()
        child.wait()
    told = {one.pid for one in probe.uses(os.getpid())[0].processes}
    assert os.getpid() in told
    assert child.pid not in told


def test_the_temperature_is_the_cpus_own(tmp_path: Path) -> None:
    written(
        tmp_path,
        {"hwmon0/name": "nvme\n", "hwmon0/temp1_input": "30000\n", "hwmon1/name": "k10temp\n"},
    )
    assert CpuProbe(tmp_path).uses(0)[0].temperature_celsius is None
    written(tmp_path, {"hwmon1/temp1_input": "61250\n"})
    probe = CpuProbe(tmp_path)
    assert probe.uses(0)[0].temperature_celsius == 61.25
    (tmp_path / "hwmon1/temp1_input").unlink()
    assert probe.uses(0)[0].temperature_celsius is None


def test_the_model_is_the_kernels_name_for_it(tmp_path: Path) -> None:
    written(
        tmp_path,
        {"one": "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\n", "arm": "CPU part\t: 0xd0c\n"},
    )
    assert model(tmp_path / "one") == "AMD EPYC 7763 64-Core Processor"
    assert model(tmp_path / "arm") == ""
    assert model(tmp_path / "none") == ""


def test_the_tightest_limit_of_all_groups_around_a_process_holds(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "proc": "0::/kubepods/pod1/box\n",
            "cg/kubepods/cpu.max": "max 100000\n",
            "cg/kubepods/memory.max": "8000000000\n",
            "cg/kubepods/pod1/cpu.max": "150000 100000\n",
            "cg/kubepods/pod1/memory.max": "max\n",
            "cg/kubepods/pod1/box/cpu.max": "400000 100000\n",
            "cg/kubepods/pod1/box/memory.max": "4000000000\n",
        },
    )
    assert limits(root / "proc", root / "cg") == Limits(1.5, 4_000_000_000, root / "cg/kubepods/pod1/box")


def test_the_older_control_groups_are_read_too(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        {
            "proc": "4:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/\n0::/\n",
            "cg/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cg/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "cg/cpu/box/cpu.cfs_quota_us": "50000\n",
            "cg/cpu/box/cpu.cfs_period_us": "100000\n",
            "cg/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cg/memory/box/memory.limit_in_bytes": "1000000000\n",
        },
    )
    assert limits(root / "proc", root / "cg") == Limits(0.5, 1_000_000_000, root / "cg/memory/box")


def test_without_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert limits(tmp_path / "proc", tmp_path / "cg") == Limits()


@pytest.mark.parametrize(
    ("files", "used"),
    [
        ({"memory.current": "900\n", "memory.stat": "anon 1\ninactive_file 200\n"}, 700),
        ({"memory.usage_in_bytes": "900\n", "memory.stat": "inactive_file 1\ntotal_inactive_file 300\n"}, 600),
        ({"memory.current": "900\n"}, 900),
        ({}, None),
    ],
)
def test_memory_that_can_be_given_back_is_not_used(tmp_path: Path, files: dict[str, str], used: int | None) -> None:
    assert memory_used(written(tmp_path, files)) == used


def test_a_group_with_a_limit_has_its_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, {"memory.current": "900\n"})
    monkeypatch.setattr(cgroup, "limits", lambda: Limits(None, 1000, tmp_path))
    (use,) = CpuProbe().uses(0)
    assert (use.memory_used_bytes, use.memory_total_bytes) == (900, 1000)
    monkeypatch.setattr(cgroup, "limits", lambda: Limits(None, 2**59, tmp_path))
    (use,) = CpuProbe().uses(0)
    assert use.memory_total_bytes == psutil.virtual_memory().total
