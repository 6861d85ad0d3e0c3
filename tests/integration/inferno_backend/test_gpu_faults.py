"""A GPU's fault, from recorded answers of NVML to what the mesh is told, with a Triton that says what runs where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from inferno_backend.hardware import inventory
from inferno_backend.hardware.examination import Examination
from inferno_backend.hardware.placement import numbered
from inferno_backend.hardware.watch import Watch
from inferno_backend.liveness import Patience
from inferno_backend.node import Condition, NodeState
from inferno_backend.start import Rhythm
from inferno_backend.supervisor import Supervisor
from inferno_runtime.clock import SystemClock
from tests.integration.inferno_backend.triton import FakeLife, FakeServer, StandIn, serving
from tests.nvml import listening, replay, report


async def nothing() -> None:
    """No counters to read first."""


@pytest.mark.parametrize("healing", [True, False])
async def test_a_gpu_takes_its_models_out_and_the_last_one_the_node(healing: bool) -> None:
    stand_in = StandIn(first="READY", second="READY")
    stand_in.gpus = {"first": 0, "second": 1}
    nvml, clock = listening(replay("a10g", "tesla-t4"), 0, 1), SystemClock()
    with ExitStack() as closing:
        devices = inventory.devices(closing, nvml)
        gpus = inventory.hardware(devices, {"models": Path("/")}).gpus
        examination = Examination(gpus, 30.0)
        async with serving(stand_in) as address:
            supervisor = Supervisor(
                FakeServer(FakeLife(address)),
                clock,
                healing=healing,
                patience=Patience(),
                rhythm=Rhythm(index=0.01, probe=0.02),
                gpus=numbered(gpus, {}),
            )
            watch = Watch(devices.probes, clock, lambda: supervisor.triton_pid)
            running = asyncio.create_task(supervisor.run(nothing))

            async def look() -> None:
                supervisor.examined(examination.take(await watch.read(), supervisor.triton_pid))

            async def told(check: Callable[[NodeState], bool]) -> NodeState:
                async with asyncio.timeout(60):
                    return (await supervisor.state.wait_for(lambda one: check(one.state))).state

            await told(lambda state: state.condition is Condition.SERVING)
            await look()
            report(nvml, 13, 31)
            await look()
            assert [model.ready for model in supervisor.state.value.state.models] == [True, True]
            report(nvml, 79)
            await look()
            state = supervisor.state.value.state
            assert state.condition is Condition.SERVING
            assert [model.ready for model in state.models] == [not healing, True]
            if healing:
                assert state.models[0].versions[0].reason == (
                    "GPU 0 (NVIDIA A10G, GPU-9a9a6c50-2a47-2f51-a902-b82c3b127e94): It has reported Xid 79: "
                    "it has fallen off the bus; the machine has to be rebooted."
                )
            report(nvml, 48, gpu=1)
            await look()
            state = supervisor.state.value.state
            assert state.condition is (Condition.FAILED if healing else Condition.SERVING)
            assert ("Xid 79" in state.reason, "1 more of its GPUs" in state.reason) == (healing, healing)
            await supervisor.stop()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
