"""gRPC as every process here uses it: one way to make a server, a channel, and to carry errors over the wire.

Errors travel as a status with ``google.rpc.ErrorInfo`` (reason, metadata, the fix under ``fix``) and, for temporary
ones, ``google.rpc.RetryInfo``. Source: AIP-193.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from inferno_runtime import logs, process
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import Broken, InfernoError, InvalidInput, Unavailable, error_for_grpc

Decoder = Callable[[Any], Any]

DOMAIN = "inferno"
_MAX_MESSAGE = 64 * 1024 * 1024
_LOG = logs.get("rpc")

SERVER_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.max_concurrent_streams", 10_000),
    # Calls that wait for their handler: by default some are refused from 1,000 on, when a fleet registers at once.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
    # Envoy and agents ping an idle connection every few seconds to find a dead peer early.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # Two servers on one port would share its connections unnoticed.
    ("grpc.so_reuseport", 0),
)

CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
)


def server(
    options: Sequence[tuple[str, int]] = (), interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> grpc.aio.Server:
    """A gRPC server whose handlers may raise :class:`InfernoError`, as may those that ``interceptors`` put in their
    place."""
    return grpc.aio.server(interceptors=[_ErrorInterceptor(), *interceptors], options=[*SERVER_OPTIONS, *options])


def channel(
    target: str,
    options: Sequence[tuple[str, int | str]] = (),
    credentials: grpc.ChannelCredentials | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """A channel to ``host:port`` or ``unix:/path`` that finds a dead peer within seconds and reconnects soon; over TLS
    with ``credentials``."""
    every = [*CHANNEL_OPTIONS, *options]
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=every, interceptors=interceptors)
    return grpc.aio.secure_channel(target, credentials, options=every, interceptors=interceptors)


def bind(to: grpc.aio.Server, address: str) -> str:
    """Let a server listen on ``host:port`` (port 0: a free one) or ``unix:/path``; return the bound address.

    Raises:
        InvalidInput: The address is malformed.
        Unavailable: The port is taken; the sentence says by whom.
    """
    if address.startswith("unix:"):
        _clear(address)
        to.add_insecure_port(address)
        return address
    host, port = (address.removesuffix(":0"), 0) if address.endswith(":0") else parse_address(address)
    holder = process.port_holder(host, port) if port else None
    if holder:
        raise Unavailable(
            f"{address} is used by {holder}.",
            reason="PORT_IN_USE",
            fix="Stop it, or choose another port (0 picks a free one).",
            metadata={"address": address},
        )
    try:
        bound = to.add_insecure_port(address)
    except RuntimeError as error:
        raise InvalidInput(
            f"{address} cannot be listened on: {error}.",
            reason="BAD_ADDRESS",
            fix="Use an address of this machine, for example 127.0.0.1.",
            metadata={"address": address},
        ) from error
    return f"{host}:{bound}"


def _clear(address: str) -> None:
    """Remove the socket that an earlier process left, which would be in the way."""
    try:
        Path(address.removeprefix("unix:")).unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{address} cannot be listened on: {error.strerror}.",
            reason="BAD_ADDRESS",
            fix="Remove what is there, or choose another path.",
            metadata={"address": address},
        ) from error


def to_status(error: InfernoError) -> status_pb2.Status:
    """The wire form of an error."""
    code: grpc.StatusCode = grpc.StatusCode[error.grpc_code_name]
    metadata = dict(error.metadata)
    if error.fix:
        metadata["fix"] = error.fix
    details = [_packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))]
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    number, _ = code.value
    return status_pb2.Status(code=number, message=error.sentence(), details=details)


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def error_from_rpc(error: grpc.RpcError, peer: str) -> InfernoError:
    """Our error for a failed call to ``peer`` (a name for people, such as ``the proxy at 127.0.0.1:8080``)."""
    call = cast("grpc.aio.AioRpcError", error)
    code, message = call.code(), call.details() or ""
    status = rpc_status.from_call(cast("grpc.Call", call))
    reason, fix, metadata, retry_after = code.name, "", {"peer": peer}, None
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            metadata |= dict(info.metadata)
            reason, fix = info.reason, metadata.pop("fix", "")
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    if code is grpc.StatusCode.UNAVAILABLE and message.startswith(_NO_CONNECTION):
        metadata["connection"] = "failed"
        handshake = next((each for each in _HANDSHAKES if each in message), None)
        stranger = next((each for each in _STRANGERS if each in message), None)
        if handshake is None and stranger is not None:
            message, reason, fix = f"{peer} {_STRANGERS[stranger]}.", "NOT_GRPC", _ANOTHER_PROGRAM
        elif handshake is None:
            message = f"{peer} cannot be reached ({_innermost(message)})."
            fix = "Check the address, and that it runs."
        else:
            message, reason = f"{peer} {_HANDSHAKES[handshake]}.", "TLS_FAILED"
            fix = _OWN_FAULT if handshake == _TURNED_AWAY else "Check the address, and the CA."
    # The sentence on the wire ends with the fix, which an error of ours keeps apart.
    message = message.removesuffix(fix).strip() if fix else message
    return error_for_grpc(code.name, message, reason=reason, fix=fix, metadata=metadata, retry_after=retry_after)


# How gRPC's own message begins when no connection was made: everything else comes from a peer that was reached.
_NO_CONNECTION = ("failed to connect to all addresses", "errors resolving", "DNS resolution failed")


# All that gRPC tells of an alert which comes after its own half of the handshake (TLS 1.3).
_TURNED_AWAY = "TSI_DATA_CORRUPTED"
_OWN_FAULT = "Renew the certificate, or take one of a CA that is trusted there: inferno cert check."
# What BoringSSL says in the message, and what it means; the first that is found counts.
_HANDSHAKES: Mapping[str, str] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": "does not speak TLS",
        "CERTIFICATE_VERIFY_FAILED": "shows a certificate that no trusted CA has signed, or that has expired",
        "Hostname Verification Check failed": "shows a certificate for another name",
        "Tls handshake failed": "and this machine agree on no TLS connection",
        _TURNED_AWAY: "refuses the certificate that was shown, or that none was",
    }
)


# What gRPC says of a port that takes the connection and is not what was looked for, and what it means.
_STRANGERS: Mapping[str, str] = MappingProxyType(
    {
        "Failed parsing HTTP/2": "does not speak gRPC",
        "before receiving SETTINGS frame": "takes the connection and says nothing",
        "Socket closed": "closes the connection at once",
        "Connection reset by peer": "closes the connection at once",
    }
)
_ANOTHER_PROGRAM = "Check the address: another program answers there, or a port that wants TLS."


def _innermost(message: str) -> str:
    """The last, most exact part of gRPC's message about a failed connection."""
    return message.rstrip("]").rpartition(": ")[2].strip() or message


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: InfernoError) -> NoReturn:
    await context.abort_with_status(rpc_status.to_status(to_status(error)))
    raise AssertionError("abort returned")  # pragma: no cover - abort always raises


def _defect(method: str, error: Exception) -> InfernoError:
    _LOG.error("handler failed", method=method, exc_info=error)
    return Broken(
        f"{method} failed inside Inferno.",
        reason="INTERNAL",
        fix="The server's log has the cause; please report it.",
    )


class _ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Turns what a handler raises into a status; a defect becomes INTERNAL and its trace stays in our log."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        inner: Callable[..., Any] = getattr(handler, kind)
        decode = _decoder(method, handler.request_deserializer)
        # A coroutine function that streams writes to the context itself, as grpc_health's Watch does.
        yields = handler.response_streaming and not inspect.iscoroutinefunction(inner)
        # A single message is decoded by us: left to gRPC, a malformed one is UNKNOWN before we are asked.
        late = _as_is if handler.request_streaming else decode
        wrapped = _streaming(method, inner, late) if yields else _unary(method, inner, late)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return cast(
            "grpc.RpcMethodHandler[Any, Any]",
            make(
                wrapped,
                request_deserializer=decode if handler.request_streaming else None,
                response_serializer=handler.response_serializer,
            ),
        )


def _as_is(message: Any) -> Any:
    return message


def _decoder(method: str, decode: Decoder | None) -> Decoder:
    """``decode``, but a message that is malformed is the caller's error."""
    if decode is None:
        return _as_is

    def decoded(message: bytes) -> Any:
        try:
            return decode(message)
        except Exception as error:
            raise InvalidInput(
                f"A message to {method} cannot be decoded: {error}.",
                reason="MALFORMED_MESSAGE",
                fix="Send the message that the service's .proto file describes.",
            ) from error

    return decoded


def _unary(method: str, inner: Callable[..., Any], decode: Decoder) -> Callable[..., Awaitable[Any]]:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await inner(decode(request), context)
        except InfernoError as error:
            await _abort(context, error)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the defect is, the caller gets a status
            await _abort(context, _defect(method, error))

    return handle


def _streaming(method: str, inner: Callable[..., Any], decode: Decoder) -> Callable[..., AsyncIterator[Any]]:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            async for response in inner(decode(request), context):
                yield response
        except InfernoError as error:
            await _abort(context, error)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the defect is, the caller gets a status
            await _abort(context, _defect(method, error))

    return handle
