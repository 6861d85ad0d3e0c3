"""What devices are found to do at one moment: frozen values that sampler, metrics and judgement share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NO_XIDS: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process uses of a device; None where the device does not tell.

    ``memory_bytes`` is the device's memory it holds; ``utilization`` its share of the whole device, 0 to 1.
    """

    pid: int
    memory_bytes: int | None = None
    utilization: float | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """How much a device is used. None: the device does not tell, or may not.

    Attributes:
        device_id: ``cpu``, or the GPU's UUID.
        kind: ``cpu`` or ``gpu``.
        utilization: Share of time in which it was busy since the last look, 0 to 1.
        memory_used_bytes: Memory in use now.
        memory_total_bytes: Memory there is; for the CPUs what the control group allows.
        memory_utilization: Share of time in which its memory was read or written, 0 to 1.
        energy_joules: Energy since some moment before the agent began (GPUs: since the driver was loaded); it only
            grows.
        power_watts: Power now.
        power_limit_watts: Power it is held to.
        temperature_celsius: Its temperature now.
        sm_clock_mhz: Clock of its multiprocessors now.
        memory_clock_mhz: Clock of its memory now.
        slowdowns: What holds its clocks down now, by NVML's names (``hw_thermal_slowdown``, ``sw_power_cap``, ...).
        ecc_corrected: Memory errors that were corrected since its driver was loaded.
        ecc_uncorrected: Memory errors that were not.
        xids: How often each Xid error was reported since the agent began.
        processes: The processes that use it, the largest first; for the CPUs those of Triton only.
        load_average: Mean number of runnable tasks over the last minute (CPUs only).
        lost: Why it no longer answers; empty while it does.
        remap_failed: True when a faulty row of its memory could not be replaced.
        recovery: What its driver asks for, by NVML's names (``gpu_reset``, ...); empty for nothing.
    """

    device_id: str
    kind: str
    utilization: float | None = None
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    memory_utilization: float | None = None
    energy_joules: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    slowdowns: tuple[str, ...] = ()
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    xids: Mapping[int, int] = field(default_factory=lambda: _NO_XIDS)
    processes: tuple[ProcessUse, ...] = ()
    load_average: float | None = None
    lost: str = ""
    remap_failed: bool = False
    recovery: str = ""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """All devices at one moment: ``at`` in monotonic seconds, ``wall`` in Unix seconds."""

    at: float
    wall: float
    uses: tuple[Use, ...] = ()
