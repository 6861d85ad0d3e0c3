from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from yarl import URL

from inferno_proxy.fleet import ModelState
from tests.integration.inferno_proxy.envoy.world import (
    LIMITS,
    Server,
    controlling,
    member,
    model,
    proxied,
    serving,
    view,
)
from tests.waiting import eventually


class Client:
    """A caller of the public port who knows nothing of Inferno."""

    def __init__(self, address: str, servers: Sequence[Server], http: aiohttp.ClientSession) -> None:
        self.url = f"http://{address}"
        self.servers = servers
        self.http = http
        self.channel = grpc.aio.insecure_channel(address, options=LIMITS)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    async def infer(self, name: str, sequence: int | str = 0, metadata: Any = (), size: int = 0) -> str:
        """The node that answered."""
        answer = await self.stub.ModelInfer(request(name, sequence, size), metadata=metadata, timeout=60)
        return str(answer.parameters["node"].string_param)


def request(name: str, sequence: int | str = 0, size: int = 0) -> Any:
    made = pb.ModelInferRequest(model_name=name, id="1")
    if isinstance(sequence, str):
        made.parameters["sequence_id"].string_param = sequence
    elif sequence:
        made.parameters["sequence_id"].int64_param = sequence
    if size:
        tensor = made.inputs.add(name="x", datatype="UINT8")
        tensor.shape.extend([size])
        made.raw_input_contents.append(bytes(size))
    return made


MODELS = [
    model("magika"),
    model("magika2"),
    model("counter", stateful=True),
    model("odd name %é"),
    model("loading", state=ModelState.LOADING),
]


@pytest_asyncio.fixture
async def client(socket_dir: Path) -> AsyncIterator[Client]:
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(Server(name))) for name in ("n1", "n2", "n3")]
        await stack.enter_async_context(controlling(socket_dir))
        fleet = view(*(member(server, MODELS) for server in servers))
        address = await stack.enter_async_context(proxied(socket_dir, fleet))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        client = Client(address, servers, http)
        stack.push_async_callback(client.channel.close)
        yield client


async def test_every_model_call_is_routed_by_the_name_in_its_message(client: Client) -> None:
    await client.infer("magika")
    stub = client.stub
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="magika", version="1"))).ready
    assert (await stub.ModelMetadata(pb.ModelMetadataRequest(name="magika2"))).name == "magika2"
    await stub.ModelConfig(pb.ModelConfigRequest(name="magika"))
    stream = stub.ModelStreamInfer()
    for _ in range(2):  # a conversation: each answer is read before the next request is written
        await stream.write(request("magika"))
        assert (await stream.read()).infer_response.model_name == "magika"
    await stream.done_writing()
    seen = {(call.method, call.model) for server in client.servers for call in server.calls}
    assert seen == {
        ("ModelInfer", "magika"),
        ("ModelReady", "magika"),
        ("ModelMetadata", "magika2"),
        ("ModelConfig", "magika"),
        ("ModelStreamInfer", "magika"),
    }


async def test_calls_of_one_model_are_spread_over_its_nodes(client: Client) -> None:
    assert {await client.infer("magika") for _ in range(40)} == {"n1", "n2", "n3"}


async def test_a_header_may_name_the_model_instead(client: Client) -> None:
    await client.infer("magika", metadata=[("x-inferno-model", "magika")])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.infer("magika", metadata=[("x-inferno-model", "nothing")])
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_name_with_spaces_percent_and_accents_is_routed(client: Client) -> None:
    await client.infer("odd name %é")
    url = f"{client.url}/v2/models/odd%20name%20%25%C3%A9"
    async with client.http.get(URL(url, encoded=True)) as response:
        assert (response.status, (await response.json())["name"]) == (200, "odd name %é")


async def test_an_unknown_model_is_not_found_and_the_answer_names_those_that_exist(client: Client) -> None:
    for call in (
        client.stub.ModelInfer(request("nope")),
        client.stub.ModelReady(pb.ModelReadyRequest(name="nope")),
        client.stub.ModelStreamInfer(iter([request("nope")])).read(),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == (
            'no such model: "nope" (the fleet serves: counter, loading, magika, magika2, odd name %é)'
        )
    async with client.http.post(f"{client.url}/v2/models/nope/infer?x=1", json={}) as response:
        assert response.status == 404
        assert response.content_type == "application/json"
        said = (await response.json())["error"]
        assert said.startswith('no such model at "/v2/models/nope/infer" (the fleet serves: counter,')


async def test_a_known_model_without_a_ready_node_is_unavailable(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.infer("loading")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "no node is ready to serve model loading now" in str(caught.value.details())
    async with client.http.get(f"{client.url}/v2/models/loading/ready") as response:
        assert response.status == 503
        assert "no node is ready to serve model loading now" in (await response.json())["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "names no model"),
        (b"\x1a\x011", "names no model"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "not a valid request"),
        (b"\x0a\x05ab", "not a valid request"),
        (b"\x0f", "not a valid request"),
        (b"\x00\x01", "not a valid request"),
        (b"\x0a\x01a\x22\x03\x0a\x09a", "not a valid request"),
        (b"\x0a\x81\x10" + b"a" * 2049, "not a valid request"),
        (b"\x3a" + b"\x80\x80\x40" + bytes(1 << 20), "put them before the tensors"),
    ],
)
async def test_a_first_message_without_a_readable_name_is_an_invalid_argument(
    client: Client, body: bytes, said: str
) -> None:
    call: Any = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(body)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in str(caught.value.details())
    await client.infer("magika")


async def test_a_stream_that_ends_before_its_first_message_is_an_invalid_argument(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.stub.ModelStreamInfer(iter([])).read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_name_is_found_wherever_the_fields_stand(client: Client) -> None:
    late_name = pb.ModelInferRequest(id="x" * 5000).SerializeToString() + b"\x0a\x06magika"
    call: Any = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    answer = pb.ModelInferResponse.FromString(await call(late_name))
    assert answer.model_name == "magika"


TEXT = b"".join(b"%d green bottles, " % n for n in range(4000))
NOISE = random.Random(7).randbytes(200_000)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("tensor", [b"", b"a", bytes(10_000), TEXT, NOISE], ids=["none", "a", "zeros", "text", "noise"])
async def test_a_compressed_message_is_read_too(client: Client, compression: grpc.Compression, tensor: bytes) -> None:
    for name in ("magika", "counter"):
        asked = request(name, sequence=7)
        asked.raw_input_contents.append(tensor)
        answer = await client.stub.ModelInfer(asked, compression=compression)
        assert answer.parameters["bytes"].int64_param == len(tensor)
    stream = client.stub.ModelStreamInfer(iter([request("magika")]), compression=compression)
    assert (await stream.read()).infer_response.model_name == "magika"


def frame(body: bytes, *, compressed: bool = True) -> bytes:
    return bytes([compressed]) + len(body).to_bytes(4, "big") + body


PACKED = gzip.compress(request("magika", sequence=7).SerializeToString())


@pytest.mark.parametrize(
    ("sent", "encoding", "status"),
    [
        (frame(PACKED), "gzip", "0"),
        (frame(PACKED[:20]), "gzip", "3"),
        (frame(PACKED[:5]), "gzip", "3"),
        (frame(b"\x1f\x8b\x08\x04" + PACKED[4:]), "gzip", "3"),
        (frame(PACKED[:10] + b"\xff" * 50), "gzip", "3"),
        (frame(PACKED[:10] + b"\x01\x05\x00\x00\x00abcde"), "gzip", "3"),
        (frame(b"\x78\x9d" + bytes(20)), "deflate", "3"),
        (frame(b"not packed at all"), "gzip", "3"),
        (frame(gzip.compress(b"\x1a\x80\x80\x08" + bytes(131_072))), "gzip", "3"),
        (frame(PACKED), "snappy", "12"),
        (b"\x07" + frame(PACKED)[1:], "gzip", "3"),
    ],
)
async def test_a_compressed_message_is_judged_like_any_other(
    client: Client, sent: bytes, encoding: str, status: str
) -> None:
    assert await raw_call(client, sent, encoding) == status
    await client.infer("magika")


async def raw_call(client: Client, body: bytes, encoding: str) -> str:
    """The gRPC status of a call whose bytes are ours, over HTTP/1.1 (which Envoy translates)."""
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-encoding": encoding}
    url = f"{client.url}/inference.GRPCInferenceService/ModelInfer"
    async with client.http.post(url, data=body, headers=headers) as response:
        await response.read()
        return response.headers.get("grpc-status", "0")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_rest_call_of_a_sequence_stays_on_its_node(
    client: Client, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    home = await client.infer("counter", 7)
    header = json.dumps({"inputs": [], "parameters": {"sequence_id": 7}}).encode()
    headers = {"content-encoding": encoding, "Inference-Header-Content-Length": str(len(header))}
    url = f"{client.url}/v2/models/counter/infer"
    for _ in range(5):
        async with client.http.post(url, data=pack(header + NOISE), headers=headers) as response:
            assert (await response.json())["node"] == home


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_a_rest_call_of_a_sequence_that_cannot_be_unpacked_is_refused(client: Client, encoding: str) -> None:
    url = f"{client.url}/v2/models/counter/infer"
    async with client.http.post(url, data=b"whatever", headers={"content-encoding": encoding}) as response:
        assert response.status == 415
        assert "gzip or deflate" in (await response.json())["error"]


async def test_parameters_behind_half_a_megabyte_of_json_are_refused(client: Client) -> None:
    body = {"inputs": [{"data": list(range(120_000))}], "parameters": {"sequence_id": 7}}
    async with client.http.post(f"{client.url}/v2/models/counter/infer", json=body) as response:
        assert response.status == 400
        assert "before the tensors" in (await response.json())["error"]


@pytest.mark.parametrize("metadata", [(), (("x-inferno-model", "magika"),)])
async def test_a_tensor_of_64_megabytes_passes(client: Client, metadata: Any) -> None:
    size = 64 * 1024 * 1024
    answer = await client.stub.ModelInfer(request("magika", size=size), metadata=metadata)
    assert answer.parameters["bytes"].int64_param == size
    if not metadata:
        url = f"{client.url}/v2/models/magika/infer"
        header = b'{"inputs": []}'
        headers = {"Inference-Header-Content-Length": str(len(header))}
        async with client.http.post(url, data=io.BytesIO(header + bytes(size)), headers=headers) as response:
            assert (await response.json())["bytes"] == size + len(header)


async def test_server_level_calls_reach_the_control_plane(client: Client) -> None:
    assert (await client.stub.ServerMetadata(pb.ServerMetadataRequest())).name == "control plane"
    statistics = await client.stub.ModelStatistics(pb.ModelStatisticsRequest(name="magika"))
    assert statistics.model_stats[0].name == "control plane"


@pytest.mark.parametrize(
    "path",
    [
        "/v2",
        "/v2/health/ready",
        "/v2/repository/index",
        "/v2/models/stats",
        "/v2/models/magika/stats",
        "/v2/models/magika/versions/1/stats",
        "/v2/models/magika/trace/setting",
        "/v2/systemsharedmemory/status",
        "/register",
        "/healthz",
    ],
)
async def test_fleet_wide_pages_reach_the_control_plane(client: Client, path: str) -> None:
    async with client.http.get(client.url + path) as response:
        assert await response.json() == {"control": path}


async def test_a_path_nobody_serves_is_not_found(client: Client) -> None:
    async with client.http.get(f"{client.url}/elsewhere") as response:
        assert response.status == 404
        assert await response.json() == {"error": "nothing is served at /elsewhere on this port"}
    call: Any = client.channel.unary_unary("/some.Service/Call")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_rest_is_routed_by_path_with_or_without_a_version(client: Client) -> None:
    for path in ("magika/infer", "magika/versions/1/infer"):
        async with client.http.post(f"{client.url}/v2/models/{path}", json={"inputs": []}) as response:
            assert (await response.json())["model_name"] == "magika"


async def test_a_rest_stream_passes_word_by_word(client: Client) -> None:
    async with client.http.post(f"{client.url}/v2/models/magika/generate_stream", json={}) as response:
        for word in (b"one", b"two"):
            async with asyncio.timeout(60):
                assert await response.content.readline() == b"data: " + word + b"\n"
                await response.content.readline()
            for server in client.servers:
                server.proceed.set()


@pytest.mark.parametrize("sequence", [42, 2**63 - 1, "a string id", "0123"])
@pytest.mark.parametrize("metadata", [(), (("x-inferno-model", "counter"),)])
async def test_a_sequence_stays_on_one_node_over_every_protocol(
    client: Client, sequence: int | str, metadata: Any
) -> None:
    nodes = {await client.infer("counter", sequence, metadata) for _ in range(10)}
    stream = client.stub.ModelStreamInfer(iter([request("counter", sequence)]), metadata=metadata)
    nodes.add((await stream.read()).infer_response.parameters["node"].string_param)
    body = {"inputs": [{"name": "a", "shape": [1], "data": [1]}], "parameters": {"sequence_id": sequence}}
    async with client.http.post(f"{client.url}/v2/models/counter/infer", json=body) as response:
        nodes.add((await response.json())["node"])
    header = json.dumps({"id": '{"', "parameters": {"x": 1, "sequence_id": sequence}}).encode()
    async with client.http.post(
        f"{client.url}/v2/models/counter/infer",
        data=header + bytes(100_000),
        headers={"Inference-Header-Content-Length": str(len(header)), "x-inferno-sequence": "client's"},
    ) as response:
        nodes.add((await response.json())["node"])
    assert len(nodes) == 1


async def test_sequences_are_spread_over_the_nodes(client: Client) -> None:
    assert {await client.infer("counter", sequence) for sequence in range(1, 60)} == {"n1", "n2", "n3"}


async def test_calls_without_a_sequence_of_a_stateful_model_pass(client: Client) -> None:
    await client.infer("counter")
    async with client.http.post(f"{client.url}/v2/models/counter/infer", json={"inputs": []}) as response:
        assert response.status == 200
    async with client.http.get(f"{client.url}/v2/models/counter/ready") as response:
        assert response.status == 200


async def test_headers_that_steer_a_proxy_are_not_believed_from_outside(client: Client) -> None:
    steering = [("x-envoy-upstream-rq-timeout-ms", "1"), ("x-envoy-max-retries", "0"), ("x-forwarded-for", "8.8.8.8")]
    for server in client.servers:
        server.proceed.clear()
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.infer("magika", metadata=steering))
        await eventually(lambda: any(server.calls for server in client.servers), 5, "a node has the call")
        for server in client.servers:
            server.proceed.set()
    node = await call
    seen = next(server for server in client.servers if server.name == node).calls[-1].metadata
    assert "x-envoy-upstream-rq-timeout-ms" not in seen
    assert "8.8.8.8" not in seen["x-forwarded-for"].split(",")[-1]
