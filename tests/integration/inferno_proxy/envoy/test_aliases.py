"""Calls by an alias, as a real Envoy with the call filter serves them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb

from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Per, Rate, Traffic, TrafficTable
from tests.integration.inferno_proxy.envoy.test_public_port import Client, request
from tests.integration.inferno_proxy.envoy.world import Call, Server, controlling, member, model, proxied, serving, view

MODELS = [model("magika"), model("counter", stateful=True), model("odd name %é"), model("limited")]
ALIASES = {
    "chat": Alias("magika"),
    "c": Alias("magika", "2"),
    "turns": Alias("counter"),
    "odd": Alias("odd name %é"),
    "gone": Alias("nobody"),
    "counter": Alias("magika"),
    "scarce": Alias("limited"),
}
BY_MESSAGE: Any = ()


@pytest_asyncio.fixture
async def client(socket_dir: Path) -> AsyncIterator[Client]:
    routing = RoutingSettings(TrafficTable({"limited": Traffic(rate=Rate(2, 3600, Per.MODEL))}), aliases=ALIASES)
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(Server(name))) for name in ("n1", "n2", "n3")]
        await stack.enter_async_context(controlling(socket_dir))
        fleet = view(*(member(server, MODELS) for server in servers))
        address = await stack.enter_async_context(proxied(socket_dir, fleet, routing=routing))
        client = Client(address, servers, await stack.enter_async_context(aiohttp.ClientSession()))
        stack.push_async_callback(client.channel.close)
        yield client


def by_header(alias: str) -> Any:
    return [("x-inferno-model", alias)]


@pytest.mark.parametrize("header", [False, True])
async def test_every_model_call_reaches_the_target_under_its_own_name(client: Client, *, header: bool) -> None:
    metadata = by_header("chat") if header else BY_MESSAGE
    stub = client.stub
    assert (await stub.ModelInfer(request("chat", size=30), metadata=metadata)).model_name == "magika"
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="chat"), metadata=metadata)).ready
    assert (await stub.ModelMetadata(pb.ModelMetadataRequest(name="chat"), metadata=metadata)).name == "magika"
    await stub.ModelConfig(pb.ModelConfigRequest(name="chat"), metadata=metadata)
    seen = {(call.method, call.model) for server in client.servers for call in server.calls}
    assert seen == {(method, "magika") for method in ("ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig")}


def calls(client: Client) -> list[Call]:
    return [call for server in client.servers for call in server.calls]


async def test_every_message_of_a_stream_is_renamed_however_it_arrives(client: Client) -> None:
    sizes = [0, 1, 20, 3000, 70_000, 0, 400_000, 5, 0]
    asked = [request("chat", size=size) for size in sizes]
    asked.insert(4, request("magika"))
    stream = client.stub.ModelStreamInfer(iter(asked))
    assert [answer.infer_response.model_name async for answer in stream] == ["magika"] * len(asked)
    conversation = client.stub.ModelStreamInfer(metadata=by_header("chat"))
    for _ in range(3):  # each answer is read before the next request is written
        await conversation.write(request("chat"))
        assert (await conversation.read()).infer_response.model_name == "magika"
    await conversation.done_writing()


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 9, 40])
async def test_a_stream_in_pieces_of_any_size_is_renamed(client: Client, cut: int) -> None:
    messages = b"".join(frame(request("c", size=size).SerializeToString()) for size in (3, 50, 0))

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(messages), cut):
            yield messages[at : at + cut]
            await asyncio.sleep(0)

    assert await raw(client, "ModelStreamInfer", pieces()) == "0"
    assert [(call.model, call.version) for call in calls(client)] == [("magika", "2")] * 3


@pytest.mark.parametrize("cut", range(3, 28, 4))
async def test_a_later_message_cut_anywhere_is_renamed_once_and_nothing_comes_again(client: Client, cut: int) -> None:
    first, second, third = (frame(request("c", size=size).SerializeToString()) for size in (3, 50, 0))
    answered = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield first
        await answered.wait()  # what comes now are chunks of their own, after a message that the router has sent on
        for piece in (second[:cut], second[cut:] + third[:cut], third[cut:]):
            yield piece
            await asyncio.sleep(0.002)  # the pace of a client, for the kernel to keep them apart

    headers = {"content-type": "application/grpc", "te": "trailers"}
    url = f"{client.url}/inference.GRPCInferenceService/ModelStreamInfer"
    async with client.http.post(url, data=pieces(), headers=headers) as response:
        await response.content.readany()
        answered.set()
        await response.read()
    assert [(call.model, call.version) for call in calls(client)] == [("magika", "2")] * 3


async def test_a_call_in_pieces_with_its_length_announced_is_renamed(client: Client) -> None:
    body = frame(request("chat", size=5000).SerializeToString())
    assert await raw(client, "ModelInfer", body) == "0"
    assert calls(client)[0].model == "magika"


async def test_a_name_behind_other_fields_and_a_large_tensor_are_renamed(client: Client) -> None:
    late_name = pb.ModelInferRequest(id="x" * 5000).SerializeToString() + b"\x0a\x04chat"
    call: Any = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert pb.ModelInferResponse.FromString(await call(late_name)).model_name == "magika"
    size = 16 * 1024 * 1024
    answer = await client.stub.ModelInfer(request("chat", size=size))
    assert answer.parameters["bytes"].int64_param == size


async def test_an_alias_brings_its_version_unless_the_call_has_one(client: Client) -> None:
    await client.stub.ModelInfer(request("c"))
    await client.stub.ModelReady(pb.ModelReadyRequest(name="c", version="7"), metadata=by_header("c"))
    for path in ("c/infer", "c/versions/7/infer"):
        async with client.http.post(f"{client.url}/v2/models/{path}", json={"inputs": []}) as response:
            assert response.status == 200
    assert [(call.model, call.version) for call in sorted(calls(client), key=lambda c: (c.method, c.version))] == [
        ("magika", "2"),
        ("magika", "7"),
        ("magika", "2"),
        ("magika", "7"),
    ]


async def test_rest_calls_keep_what_follows_the_name(client: Client) -> None:
    for path in ("odd/infer", "odd/versions/3/infer", "odd/infer?x=/v2/models/odd"):
        async with client.http.post(f"{client.url}/v2/models/{path}", json={"inputs": []}) as response:
            assert (await response.json())["model_name"] == "odd name %é"
    async with client.http.get(f"{client.url}/v2/models/odd") as response:
        assert (await response.json())["name"] == "odd name %é"
    async with client.http.get(f"{client.url}/v2/models/chat/ready") as response:
        assert response.status == 200
    async with client.http.get(f"{client.url}/v2/models/chat/stats") as response:
        assert await response.json() == {"control": "/v2/models/magika/stats"}
    async with client.http.get(f"{client.url}/v2/models/chatty/ready") as response:
        assert response.status == 404
    # What would be held back for a sequence id of a stateful model passes here.
    body = {"inputs": [{"data": list(range(120_000))}], "parameters": {"a": 1}}
    async with client.http.post(f"{client.url}/v2/models/chat/infer", json=body) as response:
        assert response.status == 200


async def test_a_stream_over_rest_passes_word_by_word(client: Client) -> None:
    async with client.http.post(f"{client.url}/v2/models/chat/generate_stream", json={}) as response:
        for word in (b"one", b"two"):
            async with asyncio.timeout(60):
                assert await response.content.readline() == b"data: " + word + b"\n"
                await response.content.readline()
            for server in client.servers:
                server.proceed.set()


async def test_a_sequence_is_on_one_node_under_either_name(client: Client) -> None:
    for sequence in range(1, 8):
        nodes = {await client.infer(name, sequence) for name in ("counter", "turns") for _ in range(3)}
        nodes.add(await client.infer("turns", sequence, by_header("turns")))
        body = {"inputs": [], "parameters": {"sequence_id": sequence}}
        async with client.http.post(f"{client.url}/v2/models/turns/infer", json=body) as response:
            nodes.add((await response.json())["node"])
        assert len(nodes) == 1


async def test_a_model_comes_before_an_alias_of_its_name(client: Client) -> None:
    assert (await client.stub.ModelInfer(request("counter"))).model_name == "counter"
    async with client.http.post(f"{client.url}/v2/models/counter/infer", json={"inputs": []}) as response:
        assert (await response.json())["model_name"] == "counter"


async def test_an_alias_and_its_target_share_one_rate_limit(client: Client) -> None:
    await client.infer("limited")
    await client.infer("scarce")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.infer("scarce")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    statuses = []
    for name in ("limited", "scarce", "scarce"):
        async with client.http.post(f"{client.url}/v2/models/{name}/infer", json={"inputs": []}) as response:
            statuses.append(response.status)
    assert statuses == [200, 200, 429]


async def test_an_alias_of_a_model_that_nobody_has_is_not_found(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.infer("gone")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert str(caught.value.details()).startswith('no such model: "nobody"')
    async with client.http.post(f"{client.url}/v2/models/gone/infer", json={}) as response:
        assert response.status == 404
        assert (await response.json())["error"].startswith('no such model at "/v2/models/nobody/infer"')


async def test_a_compressed_call_by_an_alias_is_refused_with_a_way_out(client: Client) -> None:
    for call in (
        client.stub.ModelInfer(request("chat", size=50), compression=grpc.Compression.Gzip),
        client.stub.ModelStreamInfer(iter([request("chat", size=50)]), compression=grpc.Compression.Gzip).read(),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "name the model itself" in str(caught.value.details())
    late = frame(request("chat").SerializeToString()) + b"\x01\x00\x00\x00\x05abcde"
    assert await raw(client, "ModelStreamInfer", late) == "12"
    await client.infer("chat")


async def test_what_is_no_message_later_in_a_stream_is_left_to_the_node(client: Client) -> None:
    first = frame(request("chat").SerializeToString())
    for rest in (b"\x00\x00", frame(b"\x0f"), b"\x00\xff\xff\xff\xff\x0a\x04chat", frame(b"\x0a\x05ab")):
        assert await raw(client, "ModelStreamInfer", first + rest) != "12"
    await client.infer("chat")


def frame(body: bytes) -> bytes:
    return b"\0" + len(body).to_bytes(4, "big") + body


async def raw(client: Client, method: str, body: bytes | AsyncIterator[bytes]) -> str:
    """The gRPC status of a call whose bytes are ours, over HTTP/1.1 (which Envoy translates)."""
    headers = {"content-type": "application/grpc", "te": "trailers"}
    url = f"{client.url}/inference.GRPCInferenceService/{method}"
    async with client.http.post(url, data=body, headers=headers) as response:
        await response.read()
        return response.headers.get("grpc-status", "0")
