"""What a real Envoy counts of calls for the bill, beside their number and time: bytes, and tokens that answers name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno_proxy.envoy import admin
from inferno_proxy.fleet import Address
from inferno_proxy.usage.counts import PATH, Counts, Who, counts, read
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view
from tests.waiting import eventually

TEXT = b"twenty-four bytes of it."


async def counted(directory: Path, wanted: int) -> Mapping[Who, Counts]:
    """What Envoy shows once so many calls have ended well."""
    (socket,) = directory.glob("*-admin-*.sock")

    async def shown() -> Mapping[Who, Counts] | None:
        found = counts(read((await admin.call(socket, PATH, within=5))[1]))
        return found if sum(each.requests for each in found.values()) == wanted else None

    found = await eventually(shown, 60, f"{wanted} calls are counted")
    assert found is not None
    return found


async def test_bytes_are_counted_and_tokens_where_a_header_or_trailer_of_the_answer_names_a_number(
    socket_dir: Path,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(Server("n1")))
        fleet = view(member(server, [model("m")]))
        address = await stack.enter_async_context(proxied(socket_dir, fleet, governator=Address("127.0.0.1", 9)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        options = [("grpc.enable_http_proxy", 0)]
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[TEXT])
        received = sent = 0

        async def call(said: Mapping[str, str]) -> None:
            nonlocal received, sent
            server.tokens = dict(said)
            answer = await stub.ModelInfer(request, timeout=60)
            # gRPC puts five bytes before each message.
            received, sent = received + request.ByteSize() + 5, sent + answer.ByteSize() + 5
            async with http.post(f"http://{address}/v2/models/m/infer", data=b"{}") as response:
                received, sent = received + 2, sent + len(await response.read())

        await call({"x-inferno-input-tokens": "12", "x-inferno-output-tokens": "300"})
        await call({"x-inferno-output-tokens": "1000"})
        for garbage in ("many", "-4", "1e3", "9" * 30):
            await call({"x-inferno-input-tokens": garbage})
        await call({})
        (found,) = (await counted(socket_dir, 14)).items()
        assert found[0] == Who("n1", "m", "")
        assert (found[1].input_tokens, found[1].output_tokens) == (2 * 12, 2 * 1300)
        assert (found[1].request_bytes, found[1].response_bytes) == (received, sent)
