"""The CPUs and main memory, as one device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from inferno_backend.hardware import cgroup
from inferno_backend.hardware.use import ProcessUse, Use
from inferno_backend.node import Gpu

if TYPE_CHECKING:
    import psutil

_CPUINFO = Path("/proc/cpuinfo")
_SENSORS = Path("/sys/class/hwmon")
# Drivers of the sensors inside CPUs, by the names under which the kernel shows them.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_PROCESSES = 16


class CpuProbe:
    """The CPUs that this process may use, and main memory, within the limits of its control group."""

    def __init__(self, sensors: Path = _SENSORS) -> None:
        import psutil

        self._psutil: ModuleType = psutil
        self._limits = cgroup.limits()
        self._sensor = _sensor(sensors)
        self._processes: dict[int, psutil.Process] = {}
        self._cpus = tuple(os.sched_getaffinity(0))
        psutil.cpu_percent(None, percpu=True)  # The first call has nothing to compare with and says 0.

    def gpus(self) -> tuple[Gpu, ...]:
        """None."""
        return ()

    def uses(self, triton_pid: int) -> tuple[Use, ...]:
        """The share of busy time of the CPUs since the last call, memory, and what Triton's processes use of them.

        Args:
            triton_pid: Triton's process id; 0 when it is not ours or not running.
        """
        busy = self._psutil.cpu_percent(None, percpu=True)
        usable = [busy[one] for one in self._cpus if one < len(busy)]
        used, total = self._memory()
        return (
            Use(
                "cpu",
                "cpu",
                utilization=min(1.0, sum(usable) / len(usable) / 100),
                memory_used_bytes=min(used, total),
                memory_total_bytes=total,
                temperature_celsius=_celsius(self._sensor),
                processes=self._of_triton(triton_pid),
                load_average=os.getloadavg()[0],
            ),
        )

    def _memory(self) -> tuple[int, int]:
        """Used and allowed bytes."""
        machine = self._psutil.virtual_memory()
        limit, folder = self._limits.memory_bytes, self._limits.memory
        used = cgroup.memory_used(folder) if folder is not None else None
        if limit is None or used is None or limit >= machine.total:
            return machine.total - machine.available, machine.total
        return used, limit

    def _of_triton(self, pid: int) -> tuple[ProcessUse, ...]:
        """Triton and the processes it has started, the largest first."""
        found = []
        known, self._processes = self._processes, {}
        for each in _family(pid) if pid else ():
            try:
                # One that is known is kept: its share of time is counted from the last look.
                process = known.get(each) or self._psutil.Process(each)
                with process.oneshot():
                    share = process.cpu_percent(None) / 100 / len(self._cpus)
                    found.append(ProcessUse(each, process.memory_info().rss, min(1.0, share)))
            except self._psutil.Error:
                continue  # it has ended
            self._processes[each] = process
        return tuple(sorted(found, key=lambda one: -(one.memory_bytes or 0))[:_PROCESSES])


def _family(pid: int) -> Iterator[int]:
    """A process and those it has started.

    The kernel lists each thread's children (proc_pid_children(5)), which costs less than to ask every process of the
    machine for its parent. A kernel without these lists (CONFIG_PROC_CHILDREN) tells of the process itself only.
    """
    yield pid
    for thread in _listed(Path(f"/proc/{pid}/task")):
        try:
            children = (thread / "children").read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # the process has ended


def model(cpuinfo: Path = _CPUINFO) -> str:
    """The CPUs' name as the kernel tells it; empty where it tells none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _sensor(sensors: Path) -> Path | None:
    """The file with the CPUs' temperature, in thousandths of a degree.

    Only one is read: a look at all of a large machine's sensors takes longer than all other measurements together.
    """
    for name in sorted(sensors.glob("*/name")):
        first = name.parent / "temp1_input"
        if name.read_text(encoding="ascii", errors="replace").strip() in _CPU_SENSORS and first.exists():
            return first
    return None


def _celsius(sensor: Path | None) -> float | None:
    try:
        return int(sensor.read_text(encoding="ascii")) / 1000 if sensor is not None else None
    except (OSError, ValueError):
        return None  # the sensor sleeps
