"""What looking at the devices once a second costs an agent: the share of one core.

::

    python -m benchmarks.device_sampling
    python -m benchmarks.device_sampling --seconds 60

The agent's own watch, examination and sample encoding run at 1 Hz, in a process of their own. What is measured is the
processor time of that process, user and system, with the thread of each reading. It is done for the CPUs alone, with
the processes and threads of a Triton to look at; for one and for eight GPUs of a recording (``tests/recordings/nvml``),
which cost our side of the questions and not the driver's; and for the machine's own GPUs where NVML opens some. An idle
event loop is measured beside them. Results go to ``benchmarks/results/device_sampling.{json,md}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pynvml

from benchmarks.environment import machine
from inferno_backend.hardware import inventory
from inferno_backend.hardware.examination import Examination
from inferno_backend.hardware.watch import Watch
from inferno_backend.sampler import of_devices
from inferno_runtime import logs, process
from inferno_runtime.clock import SystemClock
from tools.nvml_recording import Replay, load

_RESULTS = Path(__file__).parent / "results"
_RECORDING = Path(__file__).parent.parent / "tests" / "recordings" / "nvml" / "a10g.json"
GOAL_PERCENT = 1.0
# As many processes and threads as Triton has with three model instances in Python.
_STUBS = 3
_TRITON = f"""
import subprocess, sys, threading
stop = threading.Event()
for _ in range(63):
    threading.Thread(target=stop.wait, daemon=True).start()
stubs = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) for _ in range({_STUBS})]
stubs[0].wait()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """One scenario: the share of a core, and processor time for each reading."""

    scenario: str
    readings: int
    percent_of_a_core: float
    cpu_milliseconds_per_reading: float


def _recorded(gpus: int) -> Replay:
    """A machine with GPUs that answer every question, also those that the recording does not know the answers to."""
    nvml = Replay(*[load(_RECORDING)] * gpus)
    kinds = nvml.nvmlEventTypeXidCriticalError
    nvml.then("nvmlEventSetCreate()", *({"handle": f"events{gpu}"} for gpu in range(gpus)))
    sample = {"struct": {"pid": {"value": 1}, "timeStamp": {"value": 1}, "smUtil": {"value": 50}}}
    for gpu in range(gpus):
        nvml.then(f"nvmlDeviceGetSupportedEventTypes(gpu{gpu})", {"value": kinds})
        nvml.then(f"nvmlDeviceRegisterEvents(gpu{gpu}, {kinds}, events{gpu})", {"value": None})
        nvml.then(f"nvmlEventSetWait_v2(events{gpu}, 0)", {"error": nvml.NVML_ERROR_TIMEOUT})
        nvml.then(f"nvmlDeviceGetTotalEnergyConsumption(gpu{gpu})", {"value": 1})
        nvml.then(f"nvmlDeviceGetProcessUtilization(gpu{gpu})", {"list": [sample]})
    return nvml


@asynccontextmanager
async def _triton() -> AsyncIterator[int]:
    child = await process.spawn([sys.executable, "-c", _TRITON], die_with_parent=signal.SIGKILL)
    while len(stubs := psutil.Process(child.pid).children()) < _STUBS:
        await asyncio.sleep(0.05)
    try:
        yield child.pid
    finally:
        child.kill()
        for stub in stubs:
            stub.kill()
        await child.wait()


async def _idle(seconds: int) -> Cost:
    clock, before = SystemClock(), time.process_time()
    for _ in range(seconds):
        await clock.sleep(1.0)
    return _cost("an idle event loop", seconds, seconds, time.process_time() - before)


async def _watched(scenario: str, nvml: Any, seconds: int) -> Cost:
    clock = SystemClock()
    with ExitStack() as closing:
        devices = inventory.devices(closing, nvml)
        gpus = inventory.hardware(devices, {}).gpus
        examination = Examination(gpus, 30.0)
        async with _triton() as pid:
            watch = Watch(devices.probes, clock, lambda: pid)
            await watch.read()
            readings, began, before = 0, clock.monotonic(), time.process_time()
            while clock.monotonic() - began < seconds:
                await clock.sleep(1.0)
                reading = await watch.read()
                examination.take(reading, pid)
                assert len(list(of_devices(reading.wall, 1.0, reading.uses, reading.uses))) == 1 + len(gpus)
                readings += 1
            spent = time.process_time() - before
    return _cost(scenario, readings, clock.monotonic() - began, spent)


def _cost(scenario: str, readings: int, seconds: float, spent: float) -> Cost:
    return Cost(scenario, readings, round(spent / seconds * 100, 3), round(spent / readings * 1000, 2))


def _run(scenario: str, seconds: int) -> Cost:
    logs.configure("console", "warning")
    if scenario == "idle":
        return asyncio.run(_idle(seconds))
    if scenario == "CPUs":
        absent = Replay({"answers": {"nvmlInit()": [{"error": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}]}})
        return asyncio.run(_watched("CPUs and a Triton of four processes", absent, seconds))
    if scenario == "real":
        return asyncio.run(_watched("CPUs and this machine's GPUs", pynvml, seconds))
    gpus = int(scenario)
    return asyncio.run(_watched(f"CPUs and {gpus} recorded GPU{'s' * (gpus > 1)}", _recorded(gpus), seconds))


def measure(seconds: int) -> list[Cost]:
    """Each scenario in a process of its own: processor time is a process's."""
    with ExitStack() as closing:
        real = ["real"] if any(Path("/dev").glob("nvidia[0-9]*")) else []
        costs = []
        for scenario in ("idle", "CPUs", "1", "8", *real):
            pool = closing.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            costs.append(pool.submit(_run, scenario, seconds).result())
    return costs


def markdown(costs: list[Cost], about: dict[str, Any]) -> str:
    """The costs as a table."""
    rows = "\n".join(
        f"| {cost.scenario} | {cost.percent_of_a_core:.2f} % | {cost.cpu_milliseconds_per_reading:.2f} ms |"
        for cost in costs
    )
    machine_line = ", ".join(f"{name} {value}" for name, value in about.items())
    return (
        "# Looking at the devices once a second\n\n"
        "Processor time of the agent's watch, examination and samples at 1 Hz. "
        f"Goal: at most {GOAL_PERCENT:g} % of a core. Recorded GPUs cost the agent's side of the questions, not the "
        "driver's.\n\n| devices | share of a core | each reading |\n|---|---|---|\n"
        f"{rows}\n\n{machine_line}\n"
    )


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    load_before = round(os.getloadavg()[0], 2)
    costs = measure(options.seconds)
    about = machine() | {"load average before": load_before}
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(costs, about)
    (options.results / "device_sampling.md").write_text(text)
    found = {"machine": about, "goal_percent_of_a_core": GOAL_PERCENT, "costs": [asdict(cost) for cost in costs]}
    (options.results / "device_sampling.json").write_text(json.dumps(found, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    main()
