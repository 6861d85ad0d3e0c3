"""Envoy's logs of tries (ALS), read: each entry becomes a :class:`~inferno_proxy.feedback.observed.Try`.

Measured with Envoy 1.40, for the router's ``upstream_log``: there is one entry for each try, written when it ends, with
the address it went to and a ``duration`` of its own, also for tries that were retried, hedged or cancelled. The sizes
are seen from the far side: the request's body is ``response_body_bytes``. Nothing counts the tries, so the number comes
from a request header that Envoy sets; the tries of one call share it, and it says how many there are when the entry is
written. How a try ended:

=====================================  ==============================================================================
a connection that cannot be made       flag ``upstream_connection_failure``, no code
a connection or stream that breaks     flag ``upstream_connection_termination`` or ``upstream_remote_reset``, no code;
                                       a stream that the server refuses (GOAWAY) looks the same
the slower try of a hedged call        flag ``upstream_request_timeout`` (its share of the time is over), no code; the
                                       same flag with an answer when it won after all
cancelled by the caller                no flag and no code
=====================================  ==============================================================================

Field numbers: envoy/service/accesslog/v3/als.proto and envoy/data/accesslog/v3/accesslog.proto.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from inferno_proxy.feedback.observed import Outcome, Try
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.protobuf_subset import Description, messages
from inferno_proxy.reports.access_log import access_log_message
from inferno_proxy.reports.places import Places
from inferno_proxy.resources.calls import GRPC_STREAM
from inferno_proxy.resources.names import (
    ATTEMPT_HEADER,
    FAILED_TRIES,
    FINGERPRINT_HEADER,
    REQUEST_ID_HEADER,
    TRACE_HEADER,
    model_of,
)

# Bounds of what an entry may claim.
_LONGEST = 86_400.0
_MOST_BYTES = 1 << 40
_MOST_ATTEMPTS = 100
_LONGEST_FINGERPRINT = 128
LONGEST_REQUEST_ID = 128

# gRPC statuses of a server that could not do its work; all others are answers.
_SERVER_ERRORS = frozenset({2, 8, 13, 14, 15})  # UNKNOWN, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, DATA_LOSS
# How the path of a call ends that makes a model work, over gRPC and over REST.
_WORK = (b"/ModelInfer", b"/ModelStreamInfer", b"/infer", b"/generate", b"/generate_stream")
_CANCELLED, _DEADLINE_EXCEEDED = 1, 4
_FAILURES = frozenset({Outcome.FAILED, Outcome.REFUSED, Outcome.RESET})

# Texts that come from callers are read as bytes: they need not be UTF-8. A map is a repeated pair on the wire.
_FIELDS: Description = {
    "Duration": {"seconds": (1, "int"), "nanos": (2, "int")},
    "Number": {"value": (1, "int")},
    "Pair": {"key": (1, "bytes"), "value": (2, "bytes")},
    "SocketAddress": {"address": (2, "string"), "port_value": (3, "int")},
    "Address": {"socket_address": (1, "SocketAddress")},
    "ResponseFlags": {
        "upstream_request_timeout": (3, "int"),
        "local_reset": (4, "int"),
        "upstream_remote_reset": (5, "int"),
        "upstream_connection_failure": (6, "int"),
        "upstream_connection_termination": (7, "int"),
        "upstream_overflow": (8, "int"),
        "stream_idle_timeout": (17, "int"),
        "upstream_max_stream_duration_reached": (20, "int"),
        "duration_timeout": (23, "int"),
        "upstream_protocol_error": (24, "int"),
    },
    "AccessLogCommon": {
        "upstream_remote_address": (13, "Address"),
        "upstream_cluster": (15, "string"),
        "response_flags": (16, "ResponseFlags"),
        "duration": (23, "Duration"),
    },
    "HTTPRequestProperties": {"path": (5, "bytes"), "request_headers": (13, "Pair*")},
    "HTTPResponseProperties": {
        "response_code": (1, "Number"),
        "response_body_bytes": (3, "int"),
        "response_headers": (4, "Pair*"),
        "response_trailers": (5, "Pair*"),
    },
    "HTTPAccessLogEntry": {
        "common_properties": (1, "AccessLogCommon"),
        "request": (3, "HTTPRequestProperties"),
        "response": (4, "HTTPResponseProperties"),
    },
    "HTTPAccessLogEntries": {"log_entry": (1, "HTTPAccessLogEntry*")},
    "Node": {"id": (1, "string")},
    "Identifier": {"node": (1, "Node"), "log_name": (2, "string")},
    "StreamAccessLogsMessage": {"identifier": (1, "Identifier"), "http_logs": (2, "HTTPAccessLogEntries")},
}


_FLAGS = tuple(_FIELDS["ResponseFlags"])


@functools.cache
def _messages() -> Callable[[str], Any]:
    return messages("inferno_try_log", _FIELDS)


class TryLog:
    """One stream of entries. As its first message says: ``client_id`` is the node id of the data plane whose it is, and
    ``name`` which log it is."""

    def __init__(self) -> None:
        self.client_id = ""
        self.name = ""
        self._begun = False

    def take(self, raw: bytes, fleet: Places, now: float) -> list[Try]:
        """Read the tries of one message that arrived at ``now`` (monotonic seconds).

        A call to a service of ours, a copy of a call, what asks about a model instead of using it, and what is no
        endpoint of the fleet are left out; in the log of failures, what is no failure too.

        Raises:
            InvalidInput: The bytes are no message of an access log.
        """
        message = access_log_message(_messages(), raw, "HTTP")
        if not self._begun:
            self._begun, self.name = True, str(message.identifier.log_name)
            self.client_id = str(message.identifier.node.id)
        tries = (_try(entry, fleet, now) for entry in message.http_logs.log_entry)
        return [each for each in tries if each is not None and (self.name != FAILED_TRIES or each.outcome in _FAILURES)]


def _try(entry: Any, fleet: Places, now: float) -> Try | None:
    common = entry.common_properties
    model = model_of(common.upstream_cluster)
    where = common.upstream_remote_address.socket_address
    address = Address(where.address, where.port_value)
    path = bytes(entry.request.path).partition(b"?")[0]
    if model is None or fleet.node(model, address) is None or not path.endswith(_WORK):
        return None
    attempt = _value(entry.request.request_headers, ATTEMPT_HEADER)
    fingerprint = _value(entry.request.request_headers, FINGERPRINT_HEADER)
    return Try(
        model=model,
        address=address,
        outcome=_outcome(common.response_flags, entry.response, grpc=common.upstream_cluster.endswith("/grpc")),
        seconds=min(max(common.duration.seconds + common.duration.nanos / 1e9, 0.0), _LONGEST),
        at=now,
        attempt=_attempt(attempt, overtaken=bool(common.response_flags.upstream_request_timeout)),
        request_bytes=min(max(entry.response.response_body_bytes, 0), _MOST_BYTES),
        stream=path == GRPC_STREAM.encode() or path.endswith(b"/generate_stream"),
        fingerprint=fingerprint[:_LONGEST_FINGERPRINT].decode(errors="replace"),
        request_id=_request_id(entry.request.request_headers),
        status=_status(entry.response, grpc=common.upstream_cluster.endswith("/grpc")),
        flag=next((name for name in _FLAGS if getattr(common.response_flags, name)), ""),
    )


def _request_id(headers: Iterable[Any]) -> str:
    """The caller's name of the call: its request id, or else the id of its trace (W3C: ``00-TRACE-SPAN-FLAGS``)."""
    pairs = list(headers)
    found = _value(pairs, REQUEST_ID_HEADER) or _value(pairs, TRACE_HEADER)[3:35]
    return found[:LONGEST_REQUEST_ID].decode(errors="replace")


def _status(response: Any, *, grpc: bool) -> str:
    answered = _grpc_status(response) if grpc else b""
    if answered.isdigit():
        return f"gRPC {int(answered)}"
    return f"HTTP {response.response_code.value}" if response.response_code.value else ""


def _attempt(header: bytes, *, overtaken: bool) -> int:
    """All tries of a call share the header, so that of a try which another one overtook counts that one too."""
    if not header.isdigit():
        return 1
    return min(max(int(header) - overtaken, 1), _MOST_ATTEMPTS)


def _outcome(flags: Any, response: Any, *, grpc: bool) -> Outcome:
    """An answer in full says more than a flag: a stream may be reset after its end."""
    code = int(response.response_code.value)
    status = _grpc_status(response)
    if grpc and status.isdigit():
        return _of_status(int(status))
    if flags.upstream_connection_failure or flags.upstream_overflow:
        return Outcome.REFUSED
    if (
        flags.upstream_remote_reset
        or flags.upstream_connection_termination
        or flags.upstream_protocol_error
        or flags.local_reset
    ):
        return Outcome.RESET
    if code >= 500:
        return Outcome.FAILED
    if code and not grpc:
        return Outcome.ANSWERED
    if (
        flags.upstream_request_timeout
        or flags.upstream_max_stream_duration_reached
        or flags.stream_idle_timeout
        or flags.duration_timeout
    ):
        return Outcome.TIMED_OUT
    return Outcome.CANCELLED


def _grpc_status(response: Any) -> bytes:
    """At most ten digits of it: a server may send what it likes."""
    sent = _value(response.response_trailers, "grpc-status") or _value(response.response_headers, "grpc-status")
    return sent[:10]


def _of_status(status: int) -> Outcome:
    if status in _SERVER_ERRORS:
        return Outcome.FAILED
    return {_CANCELLED: Outcome.CANCELLED, _DEADLINE_EXCEEDED: Outcome.TIMED_OUT}.get(status, Outcome.ANSWERED)


def _value(pairs: Iterable[Any], key: str) -> bytes:
    return next((bytes(pair.value) for pair in pairs if pair.key == key.encode()), b"")
