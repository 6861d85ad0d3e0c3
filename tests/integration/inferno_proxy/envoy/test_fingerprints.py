"""The name that the call filter gives to a request by its content, as a real Envoy passes it on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb

from inferno_proxy.feedback.advice import Advice
from inferno_proxy.resources.names import FINGERPRINT_HEADER
from tests.integration.inferno_proxy.envoy.test_public_port import Client
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view

Front = Callable[[Advice], AbstractAsyncContextManager[Client]]


@pytest.fixture
def front(socket_dir: Path) -> Front:
    @contextlib.asynccontextmanager
    async def opened(advice: Advice) -> AsyncIterator[Client]:
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(serving(Server("n1")))
            fleet = view(member(server, [model("m"), model("counter", stateful=True)]))
            address = await stack.enter_async_context(proxied(socket_dir, fleet, advice=advice))
            client = Client(address, [server], await stack.enter_async_context(aiohttp.ClientSession()))
            stack.push_async_callback(client.channel.close)
            yield client

    return opened


@pytest_asyncio.fixture
async def client(front: Front) -> AsyncIterator[Client]:
    async with front(Advice()) as client:
        yield client


def request(content: bytes, name: str = "m", **fields: Any) -> Any:
    made = pb.ModelInferRequest(model_name=name, **fields)
    made.inputs.add(name="x", datatype="UINT8").shape.extend([len(content)])
    made.raw_input_contents.append(content)
    return made


async def fingerprint(client: Client, asked: Any, metadata: Any = (), **how: Any) -> str:
    await client.stub.ModelInfer(asked, metadata=metadata, **how)
    return client.servers[0].calls[-1].metadata.get(FINGERPRINT_HEADER, "")


async def test_equal_tensors_have_one_fingerprint_whatever_the_id_and_parameters(client: Client) -> None:
    for content in (b"a", b"a" * 1000, b"a" * 1100, b"a" * 100_000):
        names = {await fingerprint(client, request(content)) for _ in range(3)}
        other = request(content, id="x" * 3000)
        other.parameters["priority"].int64_param = 7
        names.add(await fingerprint(client, other))
        assert len(names) == 1
        assert len(names.pop()) == 16


async def test_different_tensors_have_different_fingerprints(client: Client) -> None:
    contents = [
        b"a",
        b"b",
        b"aa",
        b"a" * 8,
        b"a" * 900,
        b"a" * 899 + b"b",
        b"a" * 5000,
        b"a" * 5001,
        b"b" + b"a" * 5000,
    ]
    names = {await fingerprint(client, request(content)) for content in contents}
    assert len(names) == len(contents)


async def test_a_stream_has_the_fingerprint_of_its_first_message(client: Client) -> None:
    alone = await fingerprint(client, request(b"first"))
    stream = client.stub.ModelStreamInfer(iter([request(b"first"), request(b"second")]))
    assert len([answer async for answer in stream]) == 2
    assert client.servers[0].calls[-1].metadata[FINGERPRINT_HEADER] == alone


async def test_compressed_requests_have_a_fingerprint_too(client: Client) -> None:
    for size in (10, 100_000):
        names = {await fingerprint(client, request(bytes(size)), compression=grpc.Compression.Gzip) for _ in range(2)}
        assert len(names) == 1
        assert len(names.pop()) == 16


async def test_what_has_no_tensors_has_no_fingerprint_and_a_callers_own_is_not_believed(client: Client) -> None:
    forged = [(FINGERPRINT_HEADER, "forged")]
    assert await fingerprint(client, pb.ModelInferRequest(model_name="m"), forged) == ""
    assert await fingerprint(client, request(b"a"), forged) == await fingerprint(client, request(b"a"))
    assert await fingerprint(client, request(b"a", "counter"), [("x-inferno-model", "counter"), *forged]) != "forged"
    await client.stub.ModelReady(pb.ModelReadyRequest(name="m"), metadata=forged)
    assert FINGERPRINT_HEADER not in client.servers[0].calls[-1].metadata


async def test_a_quarantined_request_is_refused_however_it_comes_and_others_pass(front: Front, client: Client) -> None:
    bad = request(b"deadly")
    name = await fingerprint(client, bad)
    named = [("x-inferno-model", "m")]
    async with front(Advice(quarantined={"m": frozenset({name, "0" * 16})})) as guarded:
        stub = guarded.stub
        for call in (
            stub.ModelInfer(bad),
            stub.ModelInfer(bad, metadata=named),
            stub.ModelInfer(bad, metadata=[*named, (FINGERPRINT_HEADER, "mine")]),
            stub.ModelStreamInfer(iter([bad])).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert caught.value.details() == (
                f"this request is refused: the nodes that ran it died (model m, request {name})"
            )
        assert not guarded.servers[0].calls
        await stub.ModelInfer(request(b"harmless"))
        await stub.ModelInfer(request(b"harmless"), metadata=[*named, (FINGERPRINT_HEADER, name)])
        await stub.ModelInfer(request(b"deadly", "counter"))


async def test_calls_of_a_watched_model_have_a_fingerprint_whoever_names_it(front: Front) -> None:
    async with front(Advice(watched=frozenset({"m"}))) as client:
        by_header = await fingerprint(client, request(b"a"), [("x-inferno-model", "m")])
        assert by_header == await fingerprint(client, request(b"a"))


async def rest(client: Client, body: Any, name: str = "m", **headers: str) -> tuple[int, str, Any]:
    """The status, the fingerprint that the node saw and the answer of a REST call."""
    before = len(client.servers[0].calls)
    url = f"{client.url}/v2/models/{name}/infer"
    async with client.http.post(url, data=body, headers=headers) as response:
        calls = client.servers[0].calls[before:]
        return response.status, calls[0].metadata.get(FINGERPRINT_HEADER, "") if calls else "", await response.json()


def inputs(data: list[int], **others: Any) -> bytes:
    return json.dumps({"inputs": [{"data": data}], **others}).encode()


async def test_rest_calls_of_a_watched_model_have_a_fingerprint_however_they_arrive(front: Front) -> None:
    async with front(Advice(watched=frozenset({"m", "counter"}))) as client:

        async def pieces(body: bytes) -> AsyncIterator[bytes]:
            for at in range(0, len(body), 300):
                yield body[at : at + 300]

        for data in ([1], list(range(120_000))):
            names = {(await rest(client, inputs(data)))[1] for _ in range(3)}
            assert len(names) == 1
            assert len(names.pop()) == 16
        small = inputs(list(range(50)))
        assert len({(await rest(client, part))[1] for part in (small, inputs([2]), inputs([3]))}) == 3
        assert (await rest(client, pieces(inputs(list(range(5000))))))[0] == 200
        assert len((await rest(client, inputs([1], parameters={"sequence_id": 7}), "counter"))[1]) == 16
        assert client.servers[0].calls[-1].sequence == 7
        async with client.http.get(f"{client.url}/v2/models/m/ready") as response:
            assert response.status == 200


async def test_a_quarantined_rest_call_is_refused_and_others_pass(front: Front) -> None:
    async with front(Advice(watched=frozenset({"m"}))) as client:
        _, name, _ = await rest(client, inputs([1]))
    async with front(Advice(quarantined={"m": frozenset({name})})) as client:
        for forged in ({}, {FINGERPRINT_HEADER: "mine"}):
            status, _, answer = await rest(client, inputs([1]), **forged)
            assert status == 422
            assert answer == {"error": f"this request is refused: the nodes that ran it died (model m, request {name})"}
        assert (await rest(client, inputs([2])))[0] == 200
        assert (await rest(client, inputs(list(range(120_000))), **{FINGERPRINT_HEADER: name}))[0] == 200
