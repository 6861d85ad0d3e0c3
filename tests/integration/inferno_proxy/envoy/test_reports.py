"""What the control plane learns from a real Envoy about the calls it carried."""

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

from inferno_proxy.closing import Closing
from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.feedback.observed import Counts
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.reports.reporting_service import ReportingService
from inferno_proxy.resources import build
from inferno_proxy.routing import RoutingSettings, plan
from inferno_proxy.traffic import Balance, Traffic, TrafficTable
from inferno_proxy.xds.ads_service import AdsService
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime import rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.integration.inferno_proxy.envoy.world import Server, member, model, resource_settings, serving, view
from tests.waiting import eventually

MODELS = [model("m"), model("hedged")]
ROUTING = RoutingSettings(
    TrafficTable({"hedged": Traffic(hedge_after=0.1)}, others=Traffic(balance=Balance.ROUND_ROBIN))
)


class World:
    """Two servers, an Envoy before them, and the control plane's half that takes reports."""

    def __init__(self, folder: Path, servers: list[Server]) -> None:
        self.folder = folder
        self.listen = Address("127.0.0.1", free_port())
        self.servers = {server.name: server for server in servers}
        self.fleet = view(*(member(server, MODELS) for server in servers))
        self.counts: list[Counts] = []
        self.stub: Any = None

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[None]:
        """The control plane, for as long as the block lasts."""
        clock, closing = SystemClock(), Closing()
        clients = ClientTable(clock)
        settings = resource_settings(self.folder, self.listen)
        built = build(plan(self.fleet, ROUTING), settings, 1, {})
        clients.published(1)
        server = rpc.server()
        reporting = ReportingService(Latest[FleetView](self.fleet), clock, closing, counts=self.counts.extend)
        async with AdsService(Latest(built), clients, clock) as ads:
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

    async def infer(self, name: str = "m", **options: Any) -> str:
        answer = await self.stub.ModelInfer(pb.ModelInferRequest(model_name=name), timeout=20, **options)
        return str(answer.parameters["node"].string_param)

    async def heard(self) -> None:
        """Call another model until a load report counts it: Envoy counts nothing of a cluster before its first report
        of it, and names all clusters in one report."""

        async def counted() -> bool:
            await self.infer("hedged")
            return bool(self.counts)

        await eventually(counted, within=3, what="a load report")

    def totals(self, server: Server, model: str = "m") -> Counter[str]:
        """What all load reports say of one model at one server's gRPC endpoint."""
        total: Counter[str] = Counter()
        for each in self.counts:
            if each.address == server.address and each.model == model:
                total.update(issued=each.issued, succeeded=each.succeeded, failed=each.failed)
                total["under way"] = each.under_way
        return total


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
        await made.heard()
        yield made


async def test_load_reports_count_every_try_where_it_was_made(world: World) -> None:
    a, b = world.servers["a"], world.servers["b"]
    a.failure = grpc.StatusCode.UNAVAILABLE
    assert {await world.infer() for _ in range(4)} == {"b"}

    def reported() -> bool:
        at_a, at_b = world.totals(a), world.totals(b)
        return at_b["succeeded"] == at_b["issued"] == 4 and at_a["failed"] == at_a["issued"] > 0

    await eventually(reported, within=2, what="the retried tries at one node and the answers of the other")
    assert {each.client_id for each in world.counts} == {"envoy"}
    assert all(0.1 < each.seconds < 2 for each in world.counts)


async def test_load_reports_show_what_a_node_holds_and_that_it_let_go(world: World) -> None:
    for server in world.servers.values():
        server.proceed.clear()
    calls = [asyncio.create_task(world.infer()) for _ in range(2)]
    a = world.servers["a"]
    await eventually(lambda: world.totals(a)["under way"] == 1, within=2, what="a call under way")
    for call in calls:
        call.cancel()
    await eventually(lambda: world.totals(a)["under way"] == 0, within=2, what="no call under way any more")
    assert world.totals(a) == Counter(issued=1, succeeded=0, failed=0)
