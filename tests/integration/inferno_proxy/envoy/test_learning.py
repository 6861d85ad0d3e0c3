"""The whole of loop 2 with a real Envoy: what it sees of two nodes changes what it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.loop import Learning
from inferno_proxy.fleet import Address, Node
from inferno_proxy.publishing.publisher import Publisher, Recipe, Sources
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.registry import Registry
from inferno_proxy.reports.reporting_service import ReportingService
from inferno_proxy.resources import build
from inferno_proxy.resources.names import FAILED_TRIES, TRIES
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.services.closing import Closing
from inferno_proxy.xds.ads_service import AdsService
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime import rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.gates import gate
from tests.integration.inferno_proxy.envoy.world import Server, model, resource_settings, serving
from tests.waiting import eventually


class World:
    """Two servers, an Envoy before them, and a control plane that learns."""

    def __init__(self, folder: Path, servers: list[Server]) -> None:
        self.folder = folder
        self.listen = Address("127.0.0.1", free_port())
        self.servers = {server.name: server for server in servers}
        self.clock = SystemClock()
        self.events = EventLog(self.clock)
        self.registry = Registry(Terms(lease=300), self.clock, self.events)
        self.advice = Latest(Advice())
        self.stub: Any = None
        for server in servers:
            self.registry.join(Node(server.name, 1, server.address, server.http, models=(model("m"),)))

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[None]:
        """The control plane, for as long as the block lasts."""
        closing, clients = Closing(), ClientTable(self.clock)
        recipe = Latest(Recipe(RoutingSettings(), resource_settings(self.folder, self.listen)))
        sources = Sources(self.registry.view, recipe, self.advice)
        publisher = Publisher(sources, self.clock, plan=Planner(), build=build, announce=clients.published)
        learning = Learning(self.registry, recipe, self.advice, self.events, self.clock)
        reporting = ReportingService(
            self.registry.view,
            self.clock,
            closing,
            gate(),
            counts=learning.counts,
            tries={TRIES: learning.learner.tries, FAILED_TRIES: lambda _: None},
        )
        server = rpc.server()
        async with asyncio.TaskGroup() as group, AdsService(publisher.snapshots, clients, self.clock, gate()) as ads:
            tasks = [group.create_task(publisher.run()), group.create_task(learning.run())]
            ads.register(server)
            reporting.register(server)
            rpc.bind(server, f"unix:{self.folder / 'control.sock'}")
            await server.start()
            try:
                yield
            finally:
                closing.begin()
                await ads.close()
                await server.stop(1)
                for task in tasks:
                    task.cancel()

    async def infer(self) -> str:
        answer = await self.stub.ModelInfer(pb.ModelInferRequest(model_name="m"), timeout=60)
        return str(answer.parameters["node"].string_param)

    async def answers(self, count: int) -> Counter[str]:
        """Which node answered how many of some calls, four at a time."""
        found: Counter[str] = Counter()
        for _ in range(count // 4):
            found.update(await asyncio.gather(*(self.infer() for _ in range(4))))
        return found

    def kinds(self) -> set[str]:
        return {event.kind for event in self.events.kept}


@pytest_asyncio.fixture
async def world(socket_dir: Path) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(Server(name))) for name in ("a", "b")]
        made = World(socket_dir, servers)
        await stack.enter_async_context(made.control())
        settings = EnvoySettings(socket_dir, socket_dir / "control.sock", made.listen, workers=1)
        await stack.enter_async_context(EnvoyProcess(settings, Latest(initial=True), grace=0.5))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(str(made.listen)))
        made.stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield made


async def test_a_slow_node_gets_few_calls_and_its_share_again_when_it_is_well(world: World) -> None:
    world.servers["b"].seconds = 0.1

    async def reduced() -> bool:
        await world.answers(8)
        return ("m", "b") in world.advice.value.weights

    await eventually(reduced, within=10, what="a lesser weight for the slow node")
    assert "WEIGHT_REDUCED" in world.kinds()

    async def avoided() -> bool:
        return (await world.answers(100))["b"] <= 15

    await eventually(avoided, within=10, what="few calls to the slow node")

    world.servers["b"].seconds = 0.0

    async def restored() -> bool:
        return (await world.answers(100))["b"] >= 25

    await eventually(restored, within=10, what="a fair share of the node that is well again")
    assert world.advice.value.weights == {}
    assert "WEIGHT_RESTORED" in world.kinds()
