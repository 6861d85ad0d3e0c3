"""A machine that its provider takes back: row 33."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc
import psutil
from tritonclient.grpc import service_pb2_grpc

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.streams import over_grpc
from benchmarks.faults.view import RECOVERY, after, lives, mesh_of, settled
from benchmarks.metadata_service import MetadataService, metadata_service
from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import governance_service_pb2_grpc
from inferno.mesh.v1 import mesh_service_pb2 as mesh

STORED = "seconds until the governator had it on disk"
LAST_CALL = "seconds until its last new call"
CUT = "streams cut"
_NODE = "taken-back"
_MODELS = Path(__file__).parents[2] / "tests" / "models"
# A stream's model is on the fourth node alone. One answers at a time there: the second one waits for its turn.
_STREAMED = "answers"
_STREAMS, _ANSWERS = 2, 60
_GONE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Given:
    """How a provider takes a machine back: in so many seconds; whether its system is shut down as notice is given.

    ``pause_ms``: between two answers of a stream.
    """

    provider: Literal["aws", "gcp", "off"]
    seconds: float
    shut_down_at_once: bool = False
    pause_ms: float = 100


async def notice_of_two_minutes(cloud: Cloud, path: Route) -> Measured:
    """Row 33: EC2 takes a fourth node's spot instance back, and shuts its system down in the end."""
    return await taken_back(cloud, path, Given("aws", 120))


async def notice_of_half_a_minute(cloud: Cloud, path: Route) -> Measured:
    """Row 33: Compute Engine takes a fourth node's machine back, and shuts its system down as it gives notice."""
    return await taken_back(cloud, path, Given("gcp", 30, shut_down_at_once=True))


async def notice_unread(cloud: Cloud, path: Route) -> Measured:
    """Control of row 33: nobody asks the provider, and the machine goes with what runs on it."""
    return await taken_back(cloud, path, Given("off", 1))


async def taken_back(cloud: Cloud, path: Route, given: Given) -> Measured:
    """Take a fourth node's machine back under load and streams; a stream that is not whole in the end has failed.

    ``detected``: until the mesh shows it as draining.
    """
    async with (
        metadata_service() as service,
        mesh_of(cloud) as view,
        grpc.aio.insecure_channel(cloud.endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel,
    ):
        await settled(cloud, view)
        async with _fourth_node(cloud, given, service) as agent:
            await view.until(_phase(mesh.NODE_PHASE_SERVING), RECOVERY, "the fourth node serves")
            server = str(_triton(agent).pid)
            async with load(path.target, env=path.env, extra=("--seconds", "180")) as running:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                begun = asyncio.Event()
                streams = [
                    asyncio.create_task(over_grpc(stub, begun, _STREAMED, _ANSWERS, given.pause_ms))
                    for _ in range(_STREAMS)
                ]
                async with asyncio.timeout(RECOVERY):
                    await begun.wait()
                since, wall = time.monotonic(), time.time()
                figures = {}
                detected = None
                if given.provider == "off":
                    _power_off(agent)
                else:
                    _give(service, given)
                    if given.shut_down_at_once:
                        agent.terminate()
                    detected = await view.until(_phase(mesh.NODE_PHASE_DRAINING), RECOVERY, "it drains")
                    figures[STORED] = await _stored(channel) - wall
                ends = await asyncio.gather(*streams)
                if given.provider != "off":
                    if not given.shut_down_at_once:
                        await asyncio.sleep(max(0.0, since + given.seconds - 1 - time.monotonic()))
                        agent.terminate()
                    await view.until(lambda nodes: _NODE not in nodes, given.seconds, "it has said goodbye")
                took = time.monotonic() - since
                report = await after(running, 1)
    figures[CUT] = sum(end != "whole" for end in ends)
    figures[LAST_CALL] = max(0.0, report.last_seen.get(server, since) - since)
    report.sent += len(ends)
    report.failed += sum(end != "whole" for end in ends)
    return Measured(report, detected, figures=figures, note=f"the node left after {took:.0f} s; streams: {ends}")


def _give(service: MetadataService, given: Given) -> None:
    if given.provider == "aws":
        service.interrupt(given.seconds)
    else:
        service.change("preempted", "TRUE")


@asynccontextmanager
async def _fourth_node(cloud: Cloud, given: Given, service: MetadataService) -> AsyncIterator[psutil.Process]:
    """An agent with a Triton of its own, beside the cloud's; everything of it has ended at the end."""
    with tempfile.TemporaryDirectory(prefix="inf-") as scratch:
        models = Path(scratch) / "models"
        shutil.copytree(_MODELS / "whoami", models / "whoami")
        shutil.copytree(_MODELS / "repeat", models / _STREAMED)
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("inferno-backend")),
            *("--node-id", _NODE, "--data-dir", f"{scratch}/data", "--model-repository", str(models)),
            *("--discovery-lb", cloud.endpoint, "--metadata", given.provider, "--metadata-address", service.address),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        agent = psutil.Process(process.pid)
        family = [agent]
        try:
            yield agent
        finally:
            with contextlib.suppress(psutil.Error):
                family += agent.children(recursive=True)
                agent.terminate()
            # The guard takes away what Triton leaves in shared memory: it gets the time to.
            until = time.monotonic() + _GONE_SECONDS
            while any(lives(each) for each in family) and time.monotonic() < until:
                await asyncio.sleep(0.05)
            for each in family:
                with contextlib.suppress(psutil.Error):
                    each.kill()
            await process.wait()


def _triton(agent: psutil.Process) -> psutil.Process:
    return next(each for each in agent.children(recursive=True) if each.name() == "tritonserver")


def _power_off(agent: psutil.Process) -> None:
    """What a machine that goes takes along, but for the guard, which takes away what is left."""
    for each in (agent, _triton(agent)):
        each.kill()


def _phase(phase: mesh.NodePhase.ValueType) -> Any:
    """True of nodes of which the fourth is in this phase."""
    return lambda nodes: _NODE in nodes and nodes[_NODE].phase == phase


async def _stored(channel: grpc.aio.Channel) -> float:
    """When the governator had the notice on disk, Unix seconds."""
    stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
    async with asyncio.timeout(RECOVERY):
        while True:
            answer = await stub.ListNotices(governance.ListNoticesRequest(), timeout=5)
            if found := [each for each in answer.notices if each.notice.node_id == _NODE]:
                return float(found[-1].stored_time.ToMicroseconds()) / 1e6
            await asyncio.sleep(0.02)
