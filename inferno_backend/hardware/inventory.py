"""What the node runs on: CPUs, memory, disks, GPUs.

A probe is anything that names devices and measures them. No GPU is a normal machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inferno_backend.hardware import cgroup, cpu
from inferno_backend.hardware.cpu import CpuProbe
from inferno_backend.hardware.nvml import NvmlProbe
from inferno_backend.hardware.use import Use
from inferno_backend.node import Disk, Gpu, Hardware
from inferno_runtime import logs

_LOG = logs.get("inventory")
# Why NVML refuses to begin, by its error, and what helps. Sources: nvmlInit_v2 in NVIDIA's NVML API reference.
_REFUSALS = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": (
        "GPUs are there, but NVIDIA's library libnvidia-ml.so.1 is not",
        "Install the driver's library, or start the container with --gpus (NVIDIA Container Toolkit).",
    ),
    "NVML_ERROR_DRIVER_NOT_LOADED": (
        "NVIDIA's library is installed and its driver is not loaded",
        "Load it (modprobe nvidia), or ignore this on a machine without a GPU.",
    ),
    "NVML_ERROR_NO_PERMISSION": (
        "this user may not open NVIDIA's devices",
        "Allow it to read and write /dev/nvidiactl and /dev/nvidia*.",
    ),
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": (
        "NVIDIA's library and its loaded driver are of different versions",
        "Load the driver that was installed last: reboot, or unload and load the module nvidia.",
    ),
    "NVML_ERROR_GPU_IS_LOST": (
        "a GPU has fallen off the bus",
        "Reboot the machine; if it happens again, the GPU or its slot is broken.",
    ),
}


class Probe(Protocol):
    """One kind of device."""

    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs it knows; none for the CPUs."""
        ...

    def uses(self, triton_pid: int) -> tuple[Use, ...]:
        """Use of each device since the last call. It may block for as long as a driver does."""
        ...


@dataclass(frozen=True, slots=True)
class Devices:
    """The machine's devices: a probe for each kind, and why GPUs cannot be read (empty: all can, or there is none)."""

    probes: tuple[Probe, ...]
    driver_version: str = ""
    cuda_version: str = ""
    gpu_remark: str = ""


def devices(closing: ExitStack, nvml: Any, dev: Path = Path("/dev")) -> Devices:
    """Find the machine's devices; they are released when ``closing`` closes. ``nvml`` is the module ``pynvml``.

    Args:
        closing: What ends their use.
        nvml: The module ``pynvml``.
        dev: Where the kernel shows devices.
    """
    try:
        found = NvmlProbe(nvml, closing)
    except nvml.NVMLError as error:
        remark = _refusal(nvml, error, present=any(dev.glob("nvidia[0-9]*")))
        if remark:
            _LOG.warning("GPUs cannot be read: the node goes on with its CPUs", reason=remark)
        return Devices((CpuProbe(),), gpu_remark=remark)
    return Devices((CpuProbe(), found), found.driver_version, found.cuda_version, found.remark)


def _refusal(nvml: Any, error: Any, *, present: bool) -> str:
    """Why there is no NVML, as a sentence; empty where there is nothing to use it for."""
    if error.value == nvml.NVML_ERROR_LIBRARY_NOT_FOUND and not present:
        return ""
    for name, (why, fix) in _REFUSALS.items():
        if error.value == getattr(nvml, name):
            return f"GPUs cannot be read: {why}. {fix}"
    return f"GPUs cannot be read: NVML says {error}. nvidia-smi may say more."


def hardware(found: Devices, folders: Mapping[str, Path]) -> Hardware:
    """What the node runs on; only CPUs this process may use count.

    Args:
        found: The devices.
        folders: Folders by what they are for; the disk of each is told. One that is not there yet is asked for through
            the nearest folder above it.
    """
    import psutil

    limits = cgroup.limits()
    memory = psutil.virtual_memory().total
    return Hardware(
        len(os.sched_getaffinity(0)),
        memory,
        tuple(gpu for probe in found.probes for gpu in probe.gpus()),
        cpu_model=cpu.model(),
        cpu_quota=limits.cpus or 0.0,
        memory_limit_bytes=limits.memory_bytes if limits.memory_bytes and limits.memory_bytes < memory else 0,
        disks=_disks(folders),
        driver_version=found.driver_version,
        cuda_version=found.cuda_version,
        gpu_remark=found.gpu_remark,
    )


def _disks(folders: Mapping[str, Path]) -> tuple[Disk, ...]:
    import psutil

    disks = []
    for purpose, folder in folders.items():
        there = next((one for one in (folder, *folder.parents) if one.exists()), None)
        if there is not None:
            usage = psutil.disk_usage(str(there))
            disks.append(Disk(purpose, str(folder), usage.total, usage.free))
    return tuple(disks)
