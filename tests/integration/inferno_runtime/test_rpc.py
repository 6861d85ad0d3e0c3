from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from structlog.testing import capture_logs

from inferno.health.v1 import health_service_pb2 as wire
from inferno.health.v1 import health_service_pb2_grpc as wire_grpc
from inferno_runtime import rpc
from inferno_runtime.errors import (
    Broken,
    Exhausted,
    InfernoError,
    InvalidInput,
    NotFound,
    Unavailable,
    Unsupported,
    concrete_errors,
)


class Service(wire_grpc.HealthServiceServicer):
    """Answers, or raises what the test gave it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def GetHealth(self, request: wire.GetHealthRequest, context: Any) -> wire.GetHealthResponse:
        if self.error:
            raise self.error
        if request.model == "abort":
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "by hand")
        return wire.GetHealthResponse(report=wire.HealthReport(status=wire.SERVING_STATUS_SERVING))

    async def WatchHealth(
        self, request: wire.WatchHealthRequest, context: Any
    ) -> AsyncIterator[wire.WatchHealthResponse]:
        yield wire.WatchHealthResponse()
        if request.model == "abort":
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "by hand")
        if self.error:
            raise self.error


@asynccontextmanager
async def serving(service: Service, address: str = "127.0.0.1:0") -> AsyncIterator[wire_grpc.HealthServiceAsyncStub]:
    server = rpc.server()
    wire_grpc.add_HealthServiceServicer_to_server(service, server)
    bound = rpc.bind(server, address)
    await server.start()
    try:
        async with rpc.channel(bound) as channel:
            yield wire_grpc.HealthServiceStub(channel)
    finally:
        await server.stop(0)


async def _unary(stub: wire_grpc.HealthServiceAsyncStub, model: str = "") -> None:
    await stub.GetHealth(wire.GetHealthRequest(model=model), timeout=60)


async def _stream(stub: wire_grpc.HealthServiceAsyncStub, model: str = "") -> None:
    async for _ in stub.WatchHealth(wire.WatchHealthRequest(model=model), timeout=60):
        pass


BOTH = pytest.mark.parametrize("call", [_unary, _stream])


async def _failure(stub: wire_grpc.HealthServiceAsyncStub, call: Callable[..., Any], model: str = "") -> InfernoError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(stub, model)
    return rpc.error_from_rpc(caught.value, "the server")


@BOTH
async def test_a_handler_that_succeeds_is_left_alone(call: Callable[..., Any]) -> None:
    async with serving(Service()) as stub:
        await call(stub)


@BOTH
@pytest.mark.parametrize("cls", list(concrete_errors()))
async def test_an_error_crosses_the_wire_with_everything_it_says(
    call: Callable[..., Any], cls: type[InfernoError]
) -> None:
    sent = cls("It failed.", reason="WHY", fix="Mend it.", metadata={"node": "n1"}, retry_after=1.25)
    async with serving(Service(sent)) as stub:
        got = await _failure(stub, call)
    assert type(got) is cls
    assert (got.message, got.reason, got.fix, got.retry_after) == ("It failed.", "WHY", "Mend it.", 1.25)
    assert got.metadata == {"peer": "the server", "node": "n1"}


@BOTH
async def test_an_error_without_fix_or_delay_has_none_at_the_other_end(call: Callable[..., Any]) -> None:
    async with serving(Service(NotFound("No such thing.", reason="NONE"))) as stub:
        got = await _failure(stub, call)
    assert (got.message, got.fix, got.retry_after) == ("No such thing.", "", None)


@BOTH
async def test_a_defect_is_internal_and_its_trace_stays_in_our_log(call: Callable[..., Any]) -> None:
    with capture_logs() as lines:
        async with serving(Service(ValueError("a secret detail"))) as stub:
            got = await _failure(stub, call)
    assert isinstance(got, Broken)
    assert "secret" not in got.sentence()
    assert [line["event"] for line in lines] == ["handler failed"]


@BOTH
async def test_a_handler_may_abort_by_itself(call: Callable[..., Any]) -> None:
    async with serving(Service()) as stub:
        got = await _failure(stub, call, "abort")
    assert isinstance(got, InvalidInput)
    assert (got.message, got.reason) == ("by hand", "OUT_OF_RANGE")


MALFORMED = b"\x0a\x04\xff\xfe\xc3\x28"  # text that is not UTF-8


async def _answer_to(channel: grpc.aio.Channel, method: str) -> InfernoError:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(MALFORMED, timeout=60)
    return rpc.error_from_rpc(caught.value, "the server")


@pytest.mark.parametrize("method", ["GetHealth", "WatchHealth", "ServerReflectionInfo"])
async def test_a_message_that_cannot_be_decoded_is_the_callers_error(method: str) -> None:
    server = rpc.server()
    wire_grpc.add_HealthServiceServicer_to_server(Service(), server)
    reflection.enable_server_reflection(["inferno.health.v1.HealthService"], server)
    bound = rpc.bind(server, "127.0.0.1:0")
    await server.start()
    service = reflection.SERVICE_NAME if method == "ServerReflectionInfo" else "inferno.health.v1.HealthService"
    with capture_logs() as lines:
        async with rpc.channel(bound) as channel:
            got = await _answer_to(channel, f"/{service}/{method}")
        await server.stop(0)
    assert isinstance(got, InvalidInput)
    assert got.reason == "MALFORMED_MESSAGE"
    assert method in got.message
    assert not lines, "a caller's error is no defect of ours"


async def test_an_unknown_method_is_unsupported() -> None:
    async with serving(Service()) as stub:
        del stub
        server = rpc.server()
        bound = rpc.bind(server, "127.0.0.1:0")
        await server.start()
        async with rpc.channel(bound) as channel:
            got = await _failure(wire_grpc.HealthServiceStub(channel), _unary)
        await server.stop(0)
    assert isinstance(got, Unsupported)


async def test_a_peer_that_cannot_be_reached_is_told_from_one_that_is_unavailable() -> None:
    async with rpc.channel("127.0.0.1:1") as channel:
        away = await _failure(wire_grpc.HealthServiceStub(channel), _unary)
    assert isinstance(away, Unavailable)
    assert away.message == "the server cannot be reached (Connection refused)."
    assert away.metadata["connection"] == "failed"
    async with serving(Service(Unavailable("Not now.", reason="BUSY"))) as stub:
        busy = await _failure(stub, _unary)
    assert (busy.message, "connection" in busy.metadata) == ("Not now.", False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak gRPC"), (b"", "closes the connection at once")],
)
async def test_a_port_of_another_program_is_named_for_what_it_does(answer: bytes, said: str) -> None:
    async def other(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(other, "127.0.0.1", 0)
    async with listening, rpc.channel(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}") as channel:
        found = await _failure(wire_grpc.HealthServiceStub(channel), _unary)
    assert isinstance(found, Unavailable)
    assert found.message == f"the server {said}."
    assert "another program answers there" in found.fix


async def test_a_unix_socket_serves_and_a_stale_file_of_it_is_replaced(socket_dir: Path) -> None:
    path = socket_dir / "s"
    path.touch()
    async with serving(Service(), f"unix:{path}") as stub:
        await _unary(stub)


async def test_a_taken_port_names_its_holder() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(Unavailable, match=rf"{address} is used by pid {os.getpid()}"):
            rpc.bind(rpc.server(), address)


async def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(InvalidInput, match=r"192\.0\.2\.1:0 cannot be listened on"):
        rpc.bind(rpc.server(), "192.0.2.1:0")


async def test_a_bound_address_with_a_given_port_is_that_port() -> None:
    from inferno_runtime import process

    address = f"127.0.0.1:{process.free_port()}"
    server = rpc.server()
    assert rpc.bind(server, address) == address
    await server.stop(0)


async def test_exhausted_carries_its_delay() -> None:
    async with serving(Service(Exhausted("Too much.", reason="LIMIT", retry_after=0.5))) as stub:
        got = await _failure(stub, _unary)
    assert got.retry_after == 0.5
    assert got.temporary


def test_details_of_other_kinds_are_passed_over() -> None:
    status = rpc.to_status(NotFound("No such thing.", reason="NONE"))
    status.details.add().Pack(error_details_pb2.Help())
    metadata = grpc.aio.Metadata(*rpc_status.to_status(status).trailing_metadata)
    error = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), metadata, "No such thing.")
    assert rpc.error_from_rpc(error, "the server").reason == "NONE"


async def test_a_folder_in_the_place_of_the_socket_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be listened on: Is a directory") as refused:
        rpc.bind(rpc.server(), f"unix:{tmp_path}")
    assert refused.value.reason == "BAD_ADDRESS"


def test_who_is_turned_away_for_his_certificate_is_told_so() -> None:
    nothing = grpc.aio.Metadata()
    # As gRPC 1.85 says it, after TLS 1.3 with a certificate that has expired, is of another CA, or is missing.
    details = (
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Unwrap failed "
        "(TSI_DATA_CORRUPTED)"
    )
    error = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, details)
    made = rpc.error_from_rpc(error, "the proxy")
    assert (made.reason, made.temporary) == ("TLS_FAILED", True)
    assert made.message == "the proxy refuses the certificate that was shown, or that none was."
    assert made.fix.startswith("Renew the certificate")
