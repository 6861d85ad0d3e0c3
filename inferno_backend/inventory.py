"""What the node runs on: CPUs, memory, GPUs; and how busy they are.

A probe is anything that names devices and measures them. No GPU is a normal machine.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from inferno_backend.node import Gpu, Hardware
from inferno_runtime import logs

_LOG = logs.get("inventory")


@dataclass(frozen=True, slots=True)
class Use:
    """How much a device was used since the last look.

    ``utilization`` is 0 to 1, memory is in bytes, energy in joules (0: not measured).
    """

    device_id: str
    kind: str
    utilization: float
    memory_used_bytes: int
    memory_total_bytes: int
    energy_joules: float = 0.0


class Probe(Protocol):
    """One kind of device."""

    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs it knows; none for the CPUs."""
        ...

    def uses(self) -> tuple[Use, ...]:
        """Use of each device since the last call."""
        ...


class CpuProbe:
    """The CPUs, as one device."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        psutil.cpu_percent(None)  # The first call has nothing to compare with and says 0.

    def gpus(self) -> tuple[Gpu, ...]:
        """None."""
        return ()

    def uses(self) -> tuple[Use, ...]:
        """The CPUs' share of busy time, and main memory."""
        memory = self._psutil.virtual_memory()
        busy = min(1.0, max(0.0, self._psutil.cpu_percent(None) / 100))
        return (Use("cpu", "cpu", busy, memory.total - memory.available, memory.total),)


class NvmlProbe:
    """NVIDIA GPUs through NVML (module ``pynvml`` of nvidia-ml-py). Held open until the stack that is given closes."""

    def __init__(self, nvml: Any, closing: ExitStack) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        closing.callback(nvml.nvmlShutdown)
        self._handles = {
            _text(nvml.nvmlDeviceGetUUID(handle)): handle
            for handle in map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        }
        self._millijoules: dict[str, int] = {}

    def gpus(self) -> tuple[Gpu, ...]:
        """Every GPU of the machine."""
        return tuple(
            Gpu(uuid, _text(self._nvml.nvmlDeviceGetName(handle)), self._nvml.nvmlDeviceGetMemoryInfo(handle).total)
            for uuid, handle in self._handles.items()
        )

    def uses(self) -> tuple[Use, ...]:
        """Share of time in which a kernel ran, over NVML's own last sample period (at most 1 s)."""
        found = []
        for uuid, handle in self._handles.items():
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            busy = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            found.append(Use(uuid, "gpu", busy, memory.used, memory.total, self._joules(uuid, handle)))
        return tuple(found)

    def _joules(self, uuid: str, handle: Any) -> float:
        """Energy since the last call; 0 at the first, and for GPUs older than Volta, which do not count it."""
        try:
            now = int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except self._nvml.NVMLError:
            return 0.0
        before = self._millijoules.get(uuid, now)
        self._millijoules[uuid] = now
        return max(0, now - before) / 1000


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def probes(closing: ExitStack, nvml: Any) -> tuple[Probe, ...]:
    """A probe for each kind of device there is; ``nvml`` is the module ``pynvml``."""
    try:
        return (CpuProbe(), NvmlProbe(nvml, closing))
    except nvml.NVMLError as error:
        _LOG.debug("no GPU", reason=str(error))
        return (CpuProbe(),)


def hardware(found: Sequence[Probe]) -> Hardware:
    """What the node runs on; only CPUs this process may use count."""
    import psutil

    gpus = tuple(gpu for probe in found for gpu in probe.gpus())
    return Hardware(len(os.sched_getaffinity(0)), psutil.virtual_memory().total, gpus)
