"""Limits that change while an Envoy runs (RTDS), on the real Envoy with the real control plane's bootstrap."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Dialect, ResourceType, Snapshot
from inferno_proxy.resources import build
from inferno_proxy.routing.plan import ModelRoute, RoutePlan, RoutingSettings, plan
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.integration.inferno_proxy.envoy.world import Server, member, model, resource_settings, serving, view
from tests.integration.inferno_proxy.xds.world import ControlPlane
from tests.waiting import eventually

# Dots, slashes and spaces: whatever a model is called, Envoy finds its limits.
MODEL = "a.b/c d"


@dataclass
class Front:
    """One Envoy, its control plane, and a failing server behind it."""

    control: ControlPlane
    settings: EnvoySettings
    server: Server
    made: RoutePlan
    serial: int = 1

    def snapshot(self, **learned: object) -> Snapshot:
        routes: dict[str, ModelRoute] = {
            name: replace(route, **learned)  # type: ignore[arg-type]
            for name, route in self.made.models.items()
        }
        resources = resource_settings(self.settings.directory, self.settings.listen)
        return build(replace(self.made, models=routes), resources, self.serial, {})[Dialect.ENVOY]

    async def learn(self, **learned: object) -> None:
        """Publish a plan in which the model has these learned fields, and wait until Envoy has it."""
        self.serial += 1
        self.control.publish(self.snapshot(**learned))
        await self.control.applied(self.serial)

    async def tries(self) -> int:
        """Tries that the server sees of one call."""
        before = len(self.server.calls)
        async with grpc.aio.insecure_channel(str(self.settings.listen)) as channel:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
                    pb.ModelInferRequest(model_name=MODEL), timeout=5
                )
        return len(self.server.calls) - before

    async def connections(self) -> int:
        """Connections that Envoy has opened to the model so far."""
        socket = aiohttp.UnixConnector(str(self.settings.admin_socket))
        async with (
            aiohttp.ClientSession(connector=socket) as session,
            session.get("http://admin/stats?format=json&filter=upstream_cx_total") as answer,
        ):
            stats = json.loads(await answer.text())["stats"]
        return sum(stat["value"] for stat in stats if MODEL in stat["name"])


@pytest.fixture
async def front(socket_dir: Path) -> AsyncIterator[Front]:
    settings = EnvoySettings(socket_dir, socket_dir / "xds.sock", Address("127.0.0.1", free_port()), workers=1)
    async with serving(Server("n1")) as server:
        server.failure = grpc.StatusCode.UNAVAILABLE
        made = plan(view(member(server, [model(MODEL)])), RoutingSettings())
        control = ControlPlane(f"unix:{settings.xds_socket}", Latest({}))
        front = Front(control, settings, server, made)
        control.snapshots.set({Dialect.ENVOY: front.snapshot()})
        async with control, EnvoyProcess(settings, Latest(initial=True), grace=0.5):
            await control.applied(1)
            yield front


async def test_retries_end_and_return_while_connections_stay(front: Front) -> None:
    assert await front.tries() == 4
    opened = await front.connections()
    await front.learn(hopeless=True)
    await eventually_tries(front, 1)
    await front.learn(hopeless=False)
    await eventually_tries(front, 4)
    assert await front.connections() == opened


async def test_a_learned_limit_refuses_at_once_and_goes_again(front: Front) -> None:
    front.server.failure = None
    await front.learn(limit=2)
    async with grpc.aio.insecure_channel(str(front.settings.listen)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = pb.ModelInferRequest(model_name=MODEL)
        front.server.proceed.clear()
        held = [stub.ModelInfer(request) for _ in range(2)]
        await eventually(lambda: len(front.server.calls) == 2, 5, "two calls under way")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(request)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await front.learn(limit=0)
        held.append(stub.ModelInfer(request))
        await eventually(lambda: len(front.server.calls) == 3, 5, "no limit any more")
        front.server.proceed.set()
        await asyncio.gather(*held)


async def test_a_lost_node_is_called_so_even_when_retries_have_ended(front: Front) -> None:
    await front.learn(hopeless=True)
    await eventually_tries(front, 1)
    await front.server.crash()
    async with grpc.aio.insecure_channel(str(front.settings.listen)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
                pb.ModelInferRequest(model_name=MODEL), timeout=5
            )
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert str(caught.value.details()).startswith(f"no server of model {MODEL} took the call")


async def eventually_tries(front: Front, count: int) -> None:
    """Envoy has acknowledged a value shortly before its workers see it."""

    async def found() -> bool:
        return await front.tries() == count

    await eventually(found, 2, f"{count} tries of a call")


async def test_envoy_starts_although_the_control_plane_knows_no_runtime_values(socket_dir: Path, front: Front) -> None:
    settings = replace(front.settings, directory=socket_dir / "b", listen=Address("127.0.0.1", free_port()))
    known = replace(front, settings=settings).snapshot()
    resources = dict(known.resources)
    del resources[ResourceType.RUNTIME]
    front.control.publish(replace(known, serial=2, resources=resources))
    async with EnvoyProcess(settings, Latest(initial=True), grace=0.5, patience=5):
        assert await replace(front, settings=settings).tries() == 4
