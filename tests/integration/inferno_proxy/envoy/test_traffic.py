"""What an operator may choose for the calls of a model, as a real Envoy does it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.routing import RoutingSettings
from inferno_proxy.traffic import Balance, Mirror, Split, Traffic, TrafficTable
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view
from tests.waiting import eventually


class Caller:
    """Calls the model ``m`` over gRPC and REST."""

    def __init__(self, address: str, http: aiohttp.ClientSession, servers: Sequence[Server]) -> None:
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.aio.insecure_channel(address))
        self.url = f"http://{address}/v2/models/m"
        self.http = http
        self.servers = servers

    async def grpc(self, **headers: str) -> str:
        """The node that answered."""
        answer = await self.stub.ModelInfer(pb.ModelInferRequest(model_name="m"), metadata=tuple(headers.items()))
        return str(answer.parameters["node"].string_param)

    async def rest(self, **headers: str) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        """Status, headers and body of an answer."""
        async with self.http.post(f"{self.url}/infer", json={"inputs": []}, headers=headers) as response:
            return response.status, response.headers, await response.json()

    def hold(self) -> None:
        """Let the model servers keep what they are asked."""
        for server in self.servers:
            server.proceed.clear()

    def release(self) -> None:
        """Let them answer."""
        for server in self.servers:
            server.proceed.set()


Front = Callable[[Traffic], AbstractAsyncContextManager[Caller]]


@pytest.fixture
def front(socket_dir: Path) -> Front:
    @contextlib.asynccontextmanager
    async def opened(traffic: Traffic) -> AsyncIterator[Caller]:
        async with contextlib.AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(serving(Server(name))) for name in ("n1", "n2", "n3")]
            fleet = view(*(member(server, [model("m")], labels={"track": server.name}) for server in servers))
            routing = RoutingSettings(TrafficTable({"m": traffic}))
            address = await stack.enter_async_context(proxied(socket_dir, fleet, routing=routing))
            yield Caller(address, await stack.enter_async_context(aiohttp.ClientSession()), servers)

    return opened


@pytest.mark.parametrize("balance", [Balance.RING_HASH, Balance.MAGLEV])
async def test_a_session_stays_on_one_node_over_grpc_and_rest(front: Front, balance: Balance) -> None:
    async with front(Traffic(balance, "x-session")) as caller:
        homes = {}
        for session in map(str, range(20)):
            found = {await caller.grpc(**{"x-session": session}) for _ in range(3)}
            _, _, body = await caller.rest(**{"X-Session": session})
            assert found == {body["node"]}
            homes[session] = body["node"]
        assert set(homes.values()) == {"n1", "n2", "n3"}
        assert len({await caller.grpc() for _ in range(20)}) > 1


async def test_a_caller_stays_on_one_node_by_its_address(front: Front) -> None:
    async with front(Traffic(Balance.MAGLEV)) as caller:
        assert len({await caller.grpc() for _ in range(20)}) == 1


async def test_round_robin_gives_each_node_the_same(front: Front) -> None:
    async with front(Traffic(Balance.ROUND_ROBIN)) as caller:
        assert set(Counter([await caller.grpc() for _ in range(30)]).values()) == {10}


async def test_random_reaches_every_node(front: Front) -> None:
    async with front(Traffic(Balance.RANDOM)) as caller:
        assert {await caller.grpc() for _ in range(60)} == {"n1", "n2", "n3"}


async def test_a_call_ends_at_its_time_limit_and_a_stream_goes_on(front: Front) -> None:
    async with front(Traffic(timeout=0.3)) as caller:
        stream = caller.stub.ModelStreamInfer()
        await stream.write(pb.ModelInferRequest(model_name="m"))
        await stream.read()
        caller.hold()
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.grpc()
        assert (caught.value.code(), 0.25 < time.monotonic() - began < 2) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
        assert caught.value.details() == "the call to model m ran out of time"
        status, _, body = await caller.rest()
        assert (status, body) == (504, {"error": "the call to model m ran out of time"})
        caller.release()
        await stream.write(pb.ModelInferRequest(model_name="m"))
        assert (await stream.read()).infer_response.model_name == "m"
        await stream.done_writing()


async def test_a_stream_has_a_time_limit_of_its_own(front: Front) -> None:
    async with front(Traffic(stream_timeout=0.3)) as caller:
        stream = caller.stub.ModelStreamInfer()
        await stream.write(pb.ModelInferRequest(model_name="m"))
        await stream.read()
        with pytest.raises(grpc.aio.AioRpcError):  # it is reset: too late for a status
            await asyncio.wait_for(stream.read(), 2)
        caller.hold()
        call = asyncio.create_task(caller.grpc())
        _, waiting = await asyncio.wait([call], timeout=0.6)
        assert waiting
        caller.release()
        await call


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (1, 2), (3, 3)])
async def test_a_failed_call_is_tried_again_as_often_as_allowed(front: Front, retries: int, tries: int) -> None:
    async with front(Traffic(retries=retries)) as caller:
        for server in caller.servers:
            server.failure = grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.grpc()
        assert sum(len(server.calls) for server in caller.servers) >= tries
        assert sum(len(server.calls) for server in caller.servers) <= retries + 1


async def test_calls_are_shared_out_by_weight_and_a_dead_group_loses_none(front: Front) -> None:
    async with front(Traffic(split=Split("track", (("n1", 80), ("n2", 20))))) as caller:
        found = Counter([await caller.grpc() for _ in range(300)])
        assert set(found) == {"n1", "n2"}
        assert 30 <= found["n2"] <= 95
        assert {(await caller.rest())[2]["node"] for _ in range(60)} == {"n1", "n2"}
        await caller.servers[0].crash()
        assert {await caller.grpc() for _ in range(30)} == {"n2"}


async def test_copies_go_to_their_group_and_nobody_waits_for_them(front: Front) -> None:
    async with front(Traffic(mirror=Mirror("track", "n3"))) as caller:
        shadow = caller.servers[2]
        shadow.proceed.clear()
        assert {await caller.grpc() for _ in range(20)} == {"n1", "n2"}
        assert {(await caller.rest())[2]["node"] for _ in range(20)} == {"n1", "n2"}
        await eventually(lambda: len(shadow.calls) == 40, within=5, what="a copy of every call")
        shadow.proceed.set()
