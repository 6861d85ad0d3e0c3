"""NVIDIA GPUs through NVML (module ``pynvml`` of nvidia-ml-py).

Sources: NVIDIA's NVML API reference for each call's meaning and unit; the names of its constants are in ``pynvml``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

from inferno_backend.hardware.questions import Questions
from inferno_backend.hardware.use import ProcessUse, Use
from inferno_backend.node import Gpu, MigInstance
from inferno_runtime import logs

_LOG = logs.get("nvml")
# What changes rarely or is read for diagnosis only is read once in so many readings.
_SLOW_EVERY = 5
_PROCESSES = 16
# One reading takes no more: a device that reports without end must not hold the reader.
_XIDS_AT_ONCE = 64
# Bits of nvmlClocksEventReasons, by nvidia-smi's names. Being idle, and the user's own settings, slow nothing down.
_SLOWDOWNS = {
    "nvmlClocksThrottleReasonSwPowerCap": "sw_power_cap",
    "nvmlClocksThrottleReasonHwSlowdown": "hw_slowdown",
    "nvmlClocksThrottleReasonSyncBoost": "sync_boost",
    "nvmlClocksThrottleReasonSwThermalSlowdown": "sw_thermal_slowdown",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "hw_thermal_slowdown",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "hw_power_brake_slowdown",
}
# nvmlDeviceGpuRecoveryAction_t. The number of the field is NVML_FI_DEV_GET_GPU_RECOVERY_ACTION.
_RECOVERIES = {
    "NVML_GPU_RECOVERY_ACTION_GPU_RESET": "gpu_reset",
    "NVML_GPU_RECOVERY_ACTION_NODE_REBOOT": "node_reboot",
    "NVML_GPU_RECOVERY_ACTION_DRAIN_P2P": "drain_p2p",
    "NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET": "drain_and_reset",
    "NVML_GPU_RECOVERY_ACTION_RECOVER_IMEX_DOMAIN": "recover_imex_domain",
    "NVML_GPU_RECOVERY_ACTION_BUS_RESET": "bus_reset",
    "NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT": "system_reboot",
}


class NvmlProbe:
    """Every GPU of the machine that NVML can open. NVML stays initialised until the stack that is given closes.

    Attributes:
        driver_version: NVIDIA's driver; empty when it does not tell.
        cuda_version: The newest CUDA that the driver serves; empty when it does not tell.
        remark: Which GPUs it cannot open, and why; empty when it opens all.

    Raises:
        pynvml.NVMLError: NVML cannot be used at all.
    """

    def __init__(self, nvml: Any, closing: ExitStack) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        closing.callback(nvml.nvmlShutdown)
        machine = Questions(nvml, "nvml")
        self.driver_version = _text(machine.ask("nvmlSystemGetDriverVersion") or "")
        # 1000 times the major and 10 times the minor version.
        cuda = machine.ask("nvmlSystemGetCudaDriverVersion") or 0
        self.cuda_version = f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else ""
        self.remark = ""
        self._devices = tuple(self._open(range(nvml.nvmlDeviceGetCount())))

    def _open(self, indexes: range) -> Iterator[_Device]:
        for index in indexes:
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                uuid = _text(self._nvml.nvmlDeviceGetUUID(handle))
            except self._nvml.NVMLError as error:
                # Neither CUDA nor Triton can use it either.
                self.remark += f"{' ' * bool(self.remark)}GPU {index} cannot be opened: NVML says {error}."
                _LOG.warning("a GPU cannot be opened: the node goes on without it", index=index, error=str(error))
                continue
            yield _Device(self._nvml, handle, uuid)

    def gpus(self) -> tuple[Gpu, ...]:
        """Every GPU, in NVML's order, which is that of the PCI bus."""
        return tuple(device.described() for device in self._devices)

    def uses(self, triton_pid: int) -> tuple[Use, ...]:
        """Use of every GPU; shares of time are over NVML's own last sample period (1/6 to 1 s)."""
        return tuple(device.used() for device in self._devices)


class _Device:
    """One GPU."""

    def __init__(self, nvml: Any, handle: Any, uuid: str) -> None:
        self._nvml = nvml
        self._handle = handle
        self._uuid = uuid
        self._questions = Questions(nvml, uuid)
        self._readings = 0
        self._power_limit: int | None = None
        self._remap_failed = False
        self._recovery = ""
        self._xids: Counter[int] = Counter()
        self._processes_seen = 0
        self._slowdowns = {getattr(nvml, constant): name for constant, name in _SLOWDOWNS.items()}
        self._recoveries = {getattr(nvml, constant): name for constant, name in _RECOVERIES.items()}
        self._events = self._listen()

    def _ask(self, call: str, *more: Any) -> Any:
        return self._questions.ask(call, self._handle, *more, about=more)

    def described(self) -> Gpu:
        """What never changes about it."""
        memory, _ = self._memory()
        capability = self._ask("nvmlDeviceGetCudaComputeCapability")
        pci = self._ask("nvmlDeviceGetPciInfo")
        # The second answer is the mode after the next reset.
        mode = self._ask("nvmlDeviceGetMigMode")
        partitioned = mode is not None and mode[0] == self._nvml.NVML_DEVICE_MIG_ENABLE
        return Gpu(
            self._uuid,
            _text(self._ask("nvmlDeviceGetName") or ""),
            memory,
            compute_capability=".".join(map(str, capability)) if capability else "",
            pci_bus_id=_text(pci.busId) if pci is not None else "",
            pcie_generation=self._ask("nvmlDeviceGetMaxPcieLinkGeneration") or 0,
            pcie_width=self._ask("nvmlDeviceGetMaxPcieLinkWidth") or 0,
            pcie_current_width=self._ask("nvmlDeviceGetCurrPcieLinkWidth") or 0,
            nvlinks=self._nvlinks(),
            mig_enabled=partitioned,
            mig_instances=tuple(self._mig_instances()) if partitioned else (),
        )

    def _nvlinks(self) -> int:
        """Links that are up. A GPU without any, or with fewer, refuses the question."""
        active = 0
        for link in range(self._nvml.NVML_NVLINK_MAX_LINKS):
            state = self._ask("nvmlDeviceGetNvLinkState", link)
            if state is None:
                break
            active += state == self._nvml.NVML_FEATURE_ENABLED
        return active

    def _mig_instances(self) -> Iterator[MigInstance]:
        for index in range(self._ask("nvmlDeviceGetMaxMigDeviceCount") or 0):
            handle = self._ask("nvmlDeviceGetMigDeviceHandleByIndex", index)
            if handle is None:
                continue  # places without an instance answer "not found"
            part = Questions(self._nvml, f"{self._uuid} MIG {index}")
            memory = part.ask("nvmlDeviceGetMemoryInfo", handle)
            yield MigInstance(
                _text(part.ask("nvmlDeviceGetUUID", handle) or ""),
                _text(part.ask("nvmlDeviceGetName", handle) or ""),
                memory.total if memory is not None else 0,
            )

    def used(self) -> Use:
        """What it does now. One that is lost never comes back to this driver, which may hang if it is asked again."""
        if not self._questions.lost:
            self._read_slowly()
            self._hear()
        if self._questions.lost:
            return Use(self._uuid, "gpu", xids=MappingProxyType(dict(self._xids)), lost=self._questions.lost)
        nvml = self._nvml
        total, used = self._memory()
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return Use(
            self._uuid,
            "gpu",
            utilization=rates.gpu / 100 if rates is not None else None,
            memory_used_bytes=used,
            memory_total_bytes=total,
            memory_utilization=rates.memory / 100 if rates is not None else None,
            energy_joules=_thousandth(self._ask("nvmlDeviceGetTotalEnergyConsumption")),
            power_watts=_thousandth(self._ask("nvmlDeviceGetPowerUsage")),
            power_limit_watts=_thousandth(self._power_limit),
            temperature_celsius=self._temperature(),
            sm_clock_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            slowdowns=self._slowed(),
            ecc_corrected=self._errors(nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            ecc_uncorrected=self._errors(nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
            xids=MappingProxyType(dict(self._xids)),
            processes=self._processes(),
            lost=self._questions.lost,
            remap_failed=self._remap_failed,
            recovery=self._recovery,
        )

    def _memory(self) -> tuple[int, int]:
        """All and used bytes. Only the second version of the call counts the driver's own reserve apart."""
        memory = self._ask("nvmlDeviceGetMemoryInfo", self._nvml.nvmlMemory_v2)
        if memory is None:
            memory = self._ask("nvmlDeviceGetMemoryInfo")
        return (memory.total, memory.used) if memory is not None else (0, 0)

    def _temperature(self) -> float | None:
        """Degrees Celsius. Drivers from release 560 on know the first call; the second one goes with CUDA 14."""
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        newer = self._ask("nvmlDeviceGetTemperatureV", sensor)
        degrees = newer if newer is not None else self._ask("nvmlDeviceGetTemperature", sensor)
        return float(degrees) if degrees is not None else None

    def _slowed(self) -> tuple[str, ...]:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # its name before driver release 535
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return tuple(name for bit, name in self._slowdowns.items() if bits & bit)

    def _errors(self, kind: int) -> int | None:
        """Memory errors since the driver was loaded; None where memory has no ECC."""
        count = self._ask("nvmlDeviceGetTotalEccErrors", kind, self._nvml.NVML_VOLATILE_ECC)
        return int(count) if count is not None else None

    def _read_slowly(self) -> None:
        if self._readings % _SLOW_EVERY == 0:
            self._power_limit = self._ask("nvmlDeviceGetEnforcedPowerLimit")
            rows = self._ask("nvmlDeviceGetRemappedRows")
            self._remap_failed = rows is not None and bool(rows[3])
            self._recovery = self._wanted()
        self._readings += 1

    def _wanted(self) -> str:
        """What the driver asks an operator for (drivers from release 570 on)."""
        fields = self._ask("nvmlDeviceGetFieldValues", (self._nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION,))
        if fields is None or fields[0].nvmlReturn != self._nvml.NVML_SUCCESS:
            return ""
        return self._recoveries.get(fields[0].value.uiVal, "")

    def _processes(self) -> tuple[ProcessUse, ...]:
        """Processes that compute on it, the largest first."""
        shares: dict[int, float] = {}
        for sample in self._ask("nvmlDeviceGetProcessUtilization", self._processes_seen) or ():
            self._processes_seen = max(self._processes_seen, sample.timeStamp)
            shares[sample.pid] = sample.smUtil / 100
        running = self._ask("nvmlDeviceGetComputeRunningProcesses") or ()
        found = [ProcessUse(one.pid, one.usedGpuMemory, shares.get(one.pid)) for one in running]
        return tuple(sorted(found, key=lambda one: -(one.memory_bytes or 0))[:_PROCESSES])

    def _listen(self) -> Any:
        """Register for Xid errors; None where the device reports none."""
        kinds = self._ask("nvmlDeviceGetSupportedEventTypes") or 0
        if not kinds & self._nvml.nvmlEventTypeXidCriticalError:
            return None
        # A set of its own: an event then is this device's, also when it answers nothing else any more.
        events = self._questions.ask("nvmlEventSetCreate")
        if events is None:
            return None
        try:
            self._nvml.nvmlDeviceRegisterEvents(self._handle, self._nvml.nvmlEventTypeXidCriticalError, events)
        except self._nvml.NVMLError as error:
            _LOG.warning("Xid errors of a GPU will not be seen", device=self._uuid, error=str(error))
            return None
        return events

    def _hear(self) -> None:
        """Count the Xid errors that were reported since the last look."""
        if self._events is None:
            return
        for _ in range(_XIDS_AT_ONCE):
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._events, 0)
            except self._nvml.NVMLError as error:
                # NVML says so when nothing was reported within the time, which is none.
                if error.value != self._nvml.NVML_ERROR_TIMEOUT:
                    self._questions.note(error, "nvmlEventSetWait_v2")
                return
            xid = int(event.eventData)
            self._xids[xid] += 1
            _LOG.warning("a GPU has reported an Xid error", device=self._uuid, xid=xid)


def _thousandth(value: int | None) -> float | None:
    return value / 1000 if value is not None else None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
