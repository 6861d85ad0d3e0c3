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
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Balance, Mirror, Per, Rate, Split, Traffic, TrafficTable
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
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # of Envoy or of the node, whoever is first
            await caller.grpc()
        assert (caught.value.code(), 0.25 < time.monotonic() - began < 30) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
        status, _, body = await caller.rest()
        assert (status, body) == (504, {"error": "the call to model m ran out of time"})
        caller.release()
        await stream.write(pb.ModelInferRequest(model_name="m"))
        assert (await stream.read()).infer_response.model_name == "m"
        await stream.done_writing()


async def test_a_caller_over_rest_may_bring_a_deadline(front: Front) -> None:
    async with front(Traffic(timeout=3)) as caller:
        assert (await caller.rest(**{"grpc-timeout": "2S"}))[0] == 200
        caller.hold()
        for asked, least, most in (("100m", 0.09, 2.9), ("100S", 2.9, 50.0)):
            began = time.monotonic()
            status, _, body = await caller.rest(**{"grpc-timeout": asked})
            assert (status, body) == (504, {"error": "the call to model m ran out of time"})
            assert least <= time.monotonic() - began < most


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


async def test_a_call_above_the_allowed_concurrency_is_refused_at_once(front: Front) -> None:
    async with front(Traffic(max_concurrency=2)) as caller:
        await caller.grpc()
        await caller.rest()
        caller.hold()
        under_way = [asyncio.create_task(caller.grpc()) for _ in range(2)]
        others = [asyncio.create_task(caller.rest()) for _ in range(2)]
        await eventually(lambda: sum(len(s.calls) for s in caller.servers) == 6, within=5, what="calls under way")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.grpc()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(caught.value.details()).startswith("the model has as many calls under way as it may have; try again")
        assert refusal(caught.value) == ("OVERLOADED", 1.0)
        metadata = dict(caught.value.initial_metadata() or ()) | dict(caught.value.trailing_metadata() or ())
        assert metadata["grpc-retry-pushback-ms"] == "1000"
        status, headers, body = await caller.rest()
        assert (status, headers["retry-after"]) == (429, "1")
        assert body["error"].startswith("the model has as many calls under way")
        caller.release()
        await asyncio.gather(*under_way, *others)


def refusal(error: grpc.aio.AioRpcError) -> tuple[str, float]:
    """The reason, and the seconds until the next try, that gRPC's own library finds in a refusal."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]  # an error of grpc.aio is no grpc.Call
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    return info.reason, retry.retry_delay.ToTimedelta().total_seconds()


async def test_a_model_may_be_called_as_often_as_allowed(front: Front) -> None:
    async with front(Traffic(rate=Rate(3, 60))) as caller:
        for _ in range(3):
            await caller.grpc()
            assert (await caller.rest())[0] == 200
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.grpc()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == "the limit of calls for model m is reached; try again later"
        metadata = dict(caught.value.initial_metadata() or ()) | dict(caught.value.trailing_metadata() or ())
        assert metadata["grpc-retry-pushback-ms"] == "20000"
        assert refusal(caught.value) == ("RATE_LIMITED", 20.0)
        status, headers, body = await caller.rest()
        assert (status, headers["retry-after"]) == (429, "20")
        assert body == {"error": "the limit of calls for model m is reached; try again later"}


async def test_each_caller_has_a_limit_of_its_own_by_a_header(front: Front) -> None:
    async with front(Traffic(rate=Rate(2, 60, Per.HEADER, "x-api-key"))) as caller:
        found: Counter[tuple[str, int]] = Counter()
        for key in ("a", "b", "", "a", "b", "", "a", "b", ""):
            status, _, _ = await caller.rest(**({"x-api-key": key} if key else {}))
            found[key, status] += 1
        assert found == {(key, status): 2 if status == 200 else 1 for key in ("a", "b", "") for status in (200, 429)}


async def test_each_caller_has_a_limit_of_its_own_by_its_address(front: Front) -> None:
    async with front(Traffic(rate=Rate(2, 60, Per.ADDRESS))) as caller:
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        assert [(await caller.rest())[0] for _ in range(3)] == [200, 200, 429]
        async with aiohttp.ClientSession(connector=connector) as http:
            caller.http = http
            assert [(await caller.rest())[0] for _ in range(3)] == [200, 200, 429]


def sized(size: int) -> Any:
    """A request with a tensor of this size, in bytes."""
    request = pb.ModelInferRequest(model_name="m")
    request.raw_input_contents.append(bytes(size))
    return request


@pytest.mark.parametrize("named", [(), (("x-inferno-model", "m"),)], ids=["in the message", "in the header"])
async def test_a_request_beyond_its_size_is_refused_over_grpc(front: Front, named: tuple[tuple[str, str], ...]) -> None:
    async with front(Traffic(max_request_bytes=100_000)) as caller:
        await caller.stub.ModelInfer(sized(99_000), metadata=named)
        for size in (101_000, 3_000_000):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await caller.stub.ModelInfer(sized(size), metadata=named)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert caught.value.details() == "the request to model m is larger than the 100000 bytes it may have"
        assert sum(len(server.calls) for server in caller.servers) == 1


async def test_a_request_beyond_its_size_is_refused_over_rest(front: Front) -> None:
    async with front(Traffic(max_request_bytes=100_000)) as caller:

        async def pieces(count: int) -> AsyncIterator[bytes]:
            yield b'{"inputs": "'
            for _ in range(count):
                yield b"x" * 10_000
            yield b'"}'

        for body, status in ((b'{"inputs": []}', 200), (bytes(100_001), 413), (pieces(9), 200), (pieces(11), 413)):
            async with caller.http.post(f"{caller.url}/infer", data=body) as response:
                assert response.status == status
                found = await response.json()
            if status == 413:
                assert found == {"error": "the request to model m is larger than the 100000 bytes it may have"}
        assert sum(len(server.calls) for server in caller.servers) == 2


async def test_a_stream_may_carry_more_than_one_request_unless_it_has_a_limit_of_its_own(front: Front) -> None:
    async with front(Traffic(max_request_bytes=1000, max_stream_bytes=50_000)) as caller:
        stream = caller.stub.ModelStreamInfer()
        for _ in range(4):
            await stream.write(sized(10_000))
            assert (await stream.read()).infer_response.model_name == "m"
        await stream.write(sized(10_000))
        with pytest.raises(grpc.aio.AioRpcError):  # it has begun to answer: too late for a status
            await stream.read()


async def test_nearer_nodes_come_first_and_farther_ones_when_they_fail(socket_dir: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        near, same, far = [await stack.enter_async_context(serving(Server(name))) for name in ("near", "same", "far")]
        fleet = view(
            member(near, [model("m")], region="eu", zone="a"),
            member(same, [model("m")], region="eu", zone="b"),
            member(far, [model("m")], region="us", zone="a"),
        )
        routing = RoutingSettings(region="eu", zone="a")
        address = await stack.enter_async_context(proxied(socket_dir, fleet, routing=routing))
        caller = Caller(address, await stack.enter_async_context(aiohttp.ClientSession()), [near, same, far])
        assert {await caller.grpc() for _ in range(30)} == {"near"}
        assert {(await caller.rest())[2]["node"] for _ in range(10)} == {"near"}
        for dies, next_one in ((near, "same"), (same, "far")):
            await dies.crash()
            await eventually_only(caller, next_one)


async def eventually_only(caller: Caller, node: str) -> None:
    """Wait until ten calls in a row, none of which may fail, go to this node."""

    async def only() -> bool:
        return {await caller.grpc() for _ in range(10)} == {node}

    await eventually(only, within=5, what=f"every call at {node}")


async def test_rest_answers_carry_security_headers_and_grpc_answers_do_not(front: Front) -> None:
    async with front(Traffic()) as caller:
        _, headers, _ = await caller.rest()
        async with caller.http.get(caller.url.replace("/m", "/nothing")) as missing:
            for found in (headers, missing.headers):
                assert (found["x-content-type-options"], found["cache-control"]) == ("nosniff", "no-store")
        call = caller.stub.ModelInfer(pb.ModelInferRequest(model_name="m"))
        await call
        assert "cache-control" not in dict(await call.initial_metadata())
