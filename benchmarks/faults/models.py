"""One model of one node goes wrong while its server is well: rows 12, 14 and 36."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import RECOVERY, after, mesh_of, settled
from benchmarks.load import whoami_request
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.registration.v1 import node_pb2

_MODEL = "whoami"
_GIVEN_UP = 6
_PATIENCE = 0.4


@asynccontextmanager
async def _server(address: str) -> AsyncIterator[Any]:
    """Calls of the Open Inference Protocol at an address."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def _ready_on(count: int) -> Callable[[dict[str, mesh.NodeView]], bool]:
    """True of nodes of which exactly this many offer the model."""

    def check(nodes: dict[str, mesh.NodeView]) -> bool:
        ready = [
            view
            for view in nodes.values()
            for model in view.node.models
            for version in model.versions
            if model.name == _MODEL and version.state == node_pb2.MODEL_STATE_READY
        ]
        return len(ready) == count

    return check


async def model_unloaded(cloud: Cloud, path: Route) -> Measured:
    """Row 12: a model is unloaded straight on one node's model server, and loaded again two seconds later."""
    return await _unloaded(cloud, path, unseen=0.0)


async def model_unloaded_unseen(cloud: Cloud, path: Route) -> Measured:
    """Control of row 12: no agent looks for a second."""
    return await _unloaded(cloud, path, unseen=1.0)


async def _unloaded(cloud: Cloud, path: Route, *, unseen: float) -> Measured:
    agents = cloud.agents() if unseen else []
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        address = min(one.node.grpc_address for one in (await view.nodes()).values())
        async with load(path.target, env=path.env) as running, _server(address) as server:
            for agent in agents:
                agent.suspend()
            since = time.monotonic()
            await server.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name=_MODEL), timeout=10)
            await asyncio.sleep(unseen)
            for agent in agents:
                agent.resume()
            await view.until(_ready_on(len(cloud.nodes) - 1), RECOVERY, "the unloading is noticed")
            detected = time.monotonic() - since
            await asyncio.sleep(2)
            since = time.monotonic()
            await server.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name=_MODEL), timeout=30)
            await view.until(_ready_on(len(cloud.nodes)), RECOVERY, "the model is offered again")
            recovered = time.monotonic() - since
            report = await after(running, 1)
    return Measured(report, detected, recovered)


async def model_hangs(cloud: Cloud, path: Route) -> Measured:
    """Row 14: one node's only instance of the model is stuck for eight seconds; its server answers every health check.

    A call hangs there that cannot be cancelled; it is sent past the mesh, so that only this node has it.
    """
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        address = min(one.node.grpc_address for one in (await view.nodes()).values())
        async with load(path.target, env=path.env) as running, _server(address) as server:
            since = time.monotonic()
            with contextlib.suppress(grpc.aio.AioRpcError):
                await server.ModelInfer(whoami_request(_MODEL, -8000), timeout=0.05)
            await view.until(_ready_on(len(cloud.nodes) - 1), RECOVERY, "the hang is noticed")
            detected = time.monotonic() - since
            await view.until(_ready_on(len(cloud.nodes)), 2 * RECOVERY, "the model is offered again")
            report = await after(running, 1)
    return Measured(report, detected)


async def callers_give_up(cloud: Cloud, path: Route) -> Measured:
    """Row 36: of six calls of five seconds, three are cancelled and three reach their deadline after 0.4 s; without
    Envoy, all reach their deadline.

    ``recovered`` is how long after that the busiest node's only instance takes new work.
    """
    return await _given_up(cloud, path, 5000)


async def deaf_callees(cloud: Cloud, path: Route) -> Measured:
    """Control of row 36: the model does not look whether anyone still waits."""
    return await _given_up(cloud, path, -2000)


async def _given_up(cloud: Cloud, path: Route, hold_ms: float) -> Measured:
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        addresses = [one.node.grpc_address for one in (await view.nodes()).values()]
        async with load(path.target, env=path.env) as running:
            given_up = _GIVEN_UP
            if path.env:
                # A client by xDS needs an environment, and so a process, of its own.
                async with load(
                    path.target, env=path.env, hold_ms=hold_ms, rate=15, timeout=_PATIENCE, warm=False
                ) as impatient:
                    # Its start takes a second or so.
                    await asyncio.sleep(2)
                    given_up = (await impatient.finish()).failed
            else:
                async with _server(path.target) as front:
                    request = whoami_request(_MODEL, hold_ms)
                    calls = [
                        front.ModelInfer(request, timeout=_PATIENCE if number % 2 else None)
                        for number in range(_GIVEN_UP)
                    ]
                    await asyncio.sleep(_PATIENCE)
                    for call in calls:
                        call.cancel()
            since = time.monotonic()
            await asyncio.gather(*(_answered(address) for address in addresses))
            recovered = time.monotonic() - since
            report = await after(running, 1)
    return Measured(report, recovered=recovered, note=f"{given_up} calls given up on {len(addresses)} nodes")


async def _answered(address: str) -> None:
    async with _server(address) as server:
        await server.ModelInfer(whoami_request(_MODEL, 0), timeout=30)
