"""What a node runs on, and how busy that is."""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from inferno_backend.inventory import CpuProbe, NvmlProbe, hardware, probes
from inferno_backend.node import Gpu


class Nvml:
    """NVML of a machine with the given GPUs, as module ``pynvml`` shows it."""

    class NVMLError(Exception):
        """NVML's own error."""

    def __init__(self, *, installed: bool = True, counts_energy: bool = True) -> None:
        self.installed = installed
        self.counts_energy = counts_energy
        self.millijoules = 5000
        self.open = False

    def nvmlInit(self) -> None:
        if not self.installed:
            raise self.NVMLError("Driver Not Loaded")
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> bytes:
        return f"GPU-{handle}".encode()

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H100"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=80, used=20)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=75)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if not self.counts_energy:
            raise self.NVMLError("Not Supported")
        return self.millijoules


def test_a_machine_without_a_gpu_is_a_cpu_node() -> None:
    with ExitStack() as closing:
        found = probes(closing, Nvml(installed=False))
    assert [type(one) for one in found] == [CpuProbe]
    described = hardware(found)
    assert described.gpus == ()
    assert described.cpu_count == len(os.sched_getaffinity(0))
    (use,) = found[0].uses()
    assert (use.device_id, use.kind) == ("cpu", "cpu")
    assert 0 <= use.utilization <= 1
    assert 0 < use.memory_used_bytes < use.memory_total_bytes == described.memory_bytes


def test_a_gpu_is_described_and_measured_and_nvml_closed_in_the_end() -> None:
    nvml = Nvml()
    with ExitStack() as closing:
        found = probes(closing, nvml)
        assert nvml.open
        assert hardware(found).gpus == (Gpu("GPU-0", "NVIDIA H100", 80),)
        (first,) = found[1].uses()
        assert (first.device_id, first.kind, first.utilization) == ("GPU-0", "gpu", 0.75)
        assert (first.memory_used_bytes, first.memory_total_bytes, first.energy_joules) == (20, 80, 0)
        nvml.millijoules += 2500
        (second,) = found[1].uses()
        assert second.energy_joules == pytest.approx(2.5)
    assert not nvml.open


def test_a_gpu_that_counts_no_energy_says_zero() -> None:
    with ExitStack() as closing:
        (use,) = NvmlProbe(Nvml(counts_energy=False), closing).uses()
    assert use.energy_joules == 0
