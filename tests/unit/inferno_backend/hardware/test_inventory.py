"""What a node runs on."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import psutil
import pynvml
import pytest

from inferno_backend.hardware.cpu import CpuProbe
from inferno_backend.hardware.inventory import devices, hardware
from inferno_backend.hardware.nvml import NvmlProbe
from tests.nvml import replay
from tools.nvml_recording import Replay


def refusing(code: int) -> Replay:
    return Replay({"answers": {"nvmlInit()": [{"error": code}]}})


def test_a_machine_without_a_gpu_is_a_cpu_node(tmp_path: Path) -> None:
    with ExitStack() as closing:
        found = devices(closing, refusing(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND), tmp_path)
    assert [type(one) for one in found.probes] == [CpuProbe]
    described = hardware(found, {"data": Path("/nowhere/at/all"), "models": Path("/")})
    assert (described.gpus, described.gpu_remark, described.driver_version) == ((), "", "")
    assert described.cpu_count == len(os.sched_getaffinity(0))
    assert described.memory_bytes == psutil.virtual_memory().total
    total = psutil.disk_usage("/").total
    assert [(one.purpose, one.folder, one.total_bytes) for one in described.disks] == [
        ("data", "/nowhere/at/all", total),
        ("models", "/", total),
    ]
    assert all(0 < one.free_bytes <= one.total_bytes for one in described.disks)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "its driver is not loaded. Load it (modprobe nvidia)"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "this user may not open NVIDIA's devices. Allow it to read and write"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "of different versions. Load the driver that was installed last"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "a GPU has fallen off the bus. Reboot the machine"),
        (pynvml.NVML_ERROR_UNKNOWN, "NVML says Unknown Error. nvidia-smi may say more."),
    ],
)
def test_a_machine_whose_gpus_cannot_be_read_says_why_and_goes_on_with_its_cpus(
    tmp_path: Path, code: int, words: str
) -> None:
    with ExitStack() as closing:
        found = devices(closing, refusing(code), tmp_path)
    assert [type(one) for one in found.probes] == [CpuProbe]
    assert words in hardware(found, {}).gpu_remark


def test_a_gpu_without_nvidias_library_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    with ExitStack() as closing:
        found = devices(closing, refusing(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND), tmp_path)
    assert "GPUs are there, but NVIDIA's library libnvidia-ml.so.1 is not." in found.gpu_remark


def test_a_machine_with_gpus_tells_all_of_them(tmp_path: Path) -> None:
    with ExitStack() as closing:
        found = devices(closing, replay("a10g", "tesla-t4"), tmp_path)
        described = hardware(found, {})
        measured = [use for probe in found.probes for use in probe.uses(0)]
    assert [type(one) for one in found.probes] == [CpuProbe, NvmlProbe]
    assert (described.driver_version, described.cuda_version) == ("515.105.01", "11.7")
    assert [gpu.name for gpu in described.gpus] == ["NVIDIA A10G", "Tesla T4"]
    assert [use.kind for use in measured] == ["cpu", "gpu", "gpu"]


def test_a_gpu_that_cannot_be_opened_is_left_out_and_named(tmp_path: Path) -> None:
    nvml = replay("a10g", "tesla-t4", "rtx-3080")
    for index in (0, 2):
        nvml.then(f"nvmlDeviceGetHandleByIndex({index})", {"error": pynvml.NVML_ERROR_UNKNOWN})
    with ExitStack() as closing:
        described = hardware(devices(closing, nvml, tmp_path), {})
    assert [gpu.name for gpu in described.gpus] == ["Tesla T4"]
    assert described.gpu_remark == (
        "GPU 0 cannot be opened: NVML says Unknown Error. GPU 2 cannot be opened: NVML says Unknown Error."
    )
