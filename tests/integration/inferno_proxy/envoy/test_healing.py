"""What a call survives, and what it must not be made to survive. Real processes under signals: see tests/e2e."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.fleet import Phase
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Traffic, TrafficTable
from inferno_proxy.supervisor.act import Act
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view
from tests.waiting import eventually

MODELS = [model("magika"), model("counter", stateful=True), model("once"), model("hedged")]


class World:
    """Three servers and whatever stands in front of them."""

    def __init__(self, directory: Path, servers: list[Server], stack: contextlib.AsyncExitStack) -> None:
        self.directory = directory
        self.servers = servers
        self._stack = stack
        self.address = ""
        self.stub: Any = None
        self.acts: list[Act] = []

    async def front(self, *, healing: bool = True, phases: tuple[Phase, ...] = (Phase.SERVING,) * 3) -> None:
        members = [member(s, MODELS, phase=phase) for s, phase in zip(self.servers, phases, strict=True)]
        routing = RoutingSettings(TrafficTable({"once": Traffic(repeatable=False), "hedged": Traffic(hedge_after=0.1)}))
        fronted = proxied(self.directory, view(*members), healing=healing, routing=routing, report=self.acts.append)
        self.address = await self._stack.enter_async_context(fronted)
        channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(self.address))
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    async def infer(self, name: str = "magika", sequence: int = 0) -> str:
        request = pb.ModelInferRequest(model_name=name)
        if sequence:
            request.parameters["sequence_id"].int64_param = sequence
        answer = await self.stub.ModelInfer(request, timeout=60)
        return str(answer.parameters["node"].string_param)

    async def rest(self) -> int:
        url = f"http://{self.address}/v2/models/magika/infer"
        async with aiohttp.ClientSession() as session, session.post(url, json={}) as response:
            return response.status

    async def failures(self, calls: int, infer: Callable[[], Any] | None = None) -> int:
        """How many of a number of calls, one after the other, fail."""
        failed = 0
        for _ in range(calls):
            try:
                await (infer or self.infer)()
            except grpc.aio.AioRpcError:
                failed += 1
        return failed


@pytest_asyncio.fixture
async def world(socket_dir: Path) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(Server(name))) for name in ("n1", "n2", "n3")]
        yield World(socket_dir, servers, stack)


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND])
@pytest.mark.parametrize("healing", [True, False])
async def test_a_node_that_did_not_run_the_call_costs_no_call(
    world: World, status: grpc.StatusCode, healing: bool
) -> None:
    await world.front(healing=healing)
    world.servers[0].failure = status
    failed = await world.failures(60)
    assert (failed == 0) if healing else (failed > 10)


@pytest.mark.parametrize("healing", [True, False])
async def test_a_node_that_is_gone_costs_no_call(world: World, healing: bool) -> None:
    await world.front(healing=healing)
    await world.failures(10)
    await world.servers[0].crash()
    failed = await world.failures(60)
    assert (failed == 0) if healing else (failed > 0)


async def test_two_of_three_nodes_gone_cost_no_call(world: World) -> None:
    await world.front()
    await asyncio.gather(world.servers[0].crash(), world.servers[1].crash())
    assert await world.failures(60) == 0


async def test_two_of_three_nodes_gone_cost_no_call_though_the_third_is_the_busiest(world: World) -> None:
    await world.front()
    await asyncio.gather(world.servers[0].crash(), world.servers[1].crash())
    world.servers[2].seconds = 0.1
    # A node on which nothing runs is the first choice of every try, and those that have died run nothing.
    assert await asyncio.gather(*[world.infer() for _ in range(200)]) == ["n3"] * 200


@pytest.mark.parametrize(("name", "survives"), [("magika", True), ("once", False), ("counter", False)])
async def test_a_call_cut_off_midway_runs_again_only_where_that_is_safe(
    world: World, name: str, survives: bool
) -> None:
    await world.front()
    for server in world.servers:
        server.proceed.clear()
    async with asyncio.TaskGroup() as group:
        failures = group.create_task(world.failures(1, lambda: world.infer(name, sequence=7)))
        busy = await eventually(lambda: [s for s in world.servers if s.calls], 5, "a node runs the call")
        for server in world.servers:
            if server not in busy:
                server.proceed.set()
        await busy[0].crash()
    assert failures.result() == (0 if survives else 1)
    assert sum(len(server.calls) for server in world.servers) == (2 if survives else 1)


async def test_a_sequence_is_never_moved_to_another_node(world: World) -> None:
    await world.front()
    home = await world.infer("counter", 7)
    server = next(s for s in world.servers if s.name == home)
    server.failure = grpc.StatusCode.NOT_FOUND
    assert await world.failures(3, lambda: world.infer("counter", 7)) == 3
    assert all(not s.calls for s in world.servers if s is not server)


async def test_a_node_that_fails_every_call_is_soon_left_alone(world: World) -> None:
    await world.front()
    bad = world.servers[0]
    bad.failure = grpc.StatusCode.INTERNAL
    failed = await world.failures(200)
    await eventually(lambda: "ENDPOINT_BACK" in {act.kind for act in world.acts}, 10, "the node is let in again")
    assert failed == len(bad.calls)

    def soon() -> bool:
        # On a slow machine it is let in again, and out, while the calls go on.
        return failed <= 5 * (1 + sum(act.kind == "ENDPOINT_EJECTED" for act in world.acts))

    await eventually(soon, 10, f"it is left alone after five of {failed} failures each time")
    out, back = world.acts[0], next(act for act in world.acts if act.kind == "ENDPOINT_BACK")
    assert (out.kind, out.subject, out.seconds) == ("ENDPOINT_EJECTED", str(bad.address), None)
    assert back.subject == str(bad.address)
    assert back.seconds is not None


async def test_a_draining_node_gets_no_new_call(world: World) -> None:
    await world.front(phases=(Phase.DRAINING, Phase.SERVING, Phase.SERVING))
    assert {await world.infer() for _ in range(30)} == {"n2", "n3"}


@pytest.mark.parametrize("healing", [True, False])
async def test_a_rest_call_that_did_not_run_is_tried_elsewhere(world: World, healing: bool) -> None:
    await world.front(healing=healing)
    world.servers[0].refuse = True
    statuses = {await world.rest() for _ in range(30)}
    assert statuses == ({200} if healing else {200, 404})


async def test_a_call_that_hangs_is_answered_by_another_node_and_streams_run_once(world: World) -> None:
    await world.front()
    stuck = world.servers[0]
    stuck.proceed.clear()
    answered = {await world.infer("hedged") for _ in range(12)}
    assert answered == {"n2", "n3"}
    assert stuck.calls, "no call came to the node that hangs: the test would prove nothing"
    stream = world.stub.ModelStreamInfer()
    await stream.write(pb.ModelInferRequest(model_name="hedged"))
    await stream.read()
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert sum(call.method == "ModelStreamInfer" for server in world.servers for call in server.calls) == 1
