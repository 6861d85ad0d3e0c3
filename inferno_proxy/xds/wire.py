"""Discovery requests read, discovery responses written: raw bytes on one side, values on the other.

Responses are joined from resource bodies that are encoded already, so a push costs copying and nothing else. Requests
are read through a private description of the few fields that matter, by protobuf's C parser: 1,000 names take 0.1 ms,
and no generated module is imported. Field numbers: envoy/service/discovery/v3/discovery.proto and
envoy/config/core/v3/base.proto, which are frozen for the life of the v3 API.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import DecodeError

from inferno_proxy.publishing.protobuf_subset import Description, messages
from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.xds import delta, sotw
from inferno_proxy.xds.order import Answer
from inferno_proxy.xds.subscription import Caller
from inferno_runtime.errors import InvalidInput

_FIELDS: Description = {
    "Status": {"message": (2, "string")},
    "Node": {
        "id": (1, "string"),
        "metadata": (3, "Struct"),
        "user_agent_name": (6, "string"),
        "user_agent_version": (7, "string"),
    },
    # google/protobuf/struct.proto
    "Struct": {"fields": (1, "Field*")},
    "Field": {"key": (1, "string"), "value": (2, "Value")},
    "Value": {"string_value": (3, "string")},
    "Version": {"key": (1, "string"), "value": (2, "string")},
    "DiscoveryRequest": {
        "version_info": (1, "string"),
        "node": (2, "Node"),
        "resource_names": (3, "string*"),
        "type_url": (4, "string"),
        "response_nonce": (5, "string"),
        "error_detail": (6, "Status"),
    },
    "DeltaDiscoveryRequest": {
        "node": (1, "Node"),
        "type_url": (2, "string"),
        "resource_names_subscribe": (3, "string*"),
        "resource_names_unsubscribe": (4, "string*"),
        "initial_resource_versions": (5, "Version*"),
        "response_nonce": (6, "string"),
        "error_detail": (7, "Status"),
    },
}


@functools.cache
def _messages() -> Callable[[str], Any]:
    return messages("inferno_discovery", _FIELDS)


def _parsed(name: str, raw: bytes) -> Any:
    try:
        return _messages()(name).FromString(raw)
    except DecodeError as error:
        raise InvalidInput(
            f"The message is no {name} ({error}).",
            reason="BAD_DISCOVERY_REQUEST",
            fix="Speak xDS v3 (envoy.service.discovery.v3).",
        ) from error


def _error(message: Any) -> str | None:
    return str(message.error_detail.message) if message.HasField("error_detail") else None


def _caller(message: Any) -> Caller | None:
    if not message.HasField("node"):
        return None
    node = message.node
    texts = {each.key: each.value.string_value for each in node.metadata.fields if each.value.string_value}
    return Caller(node.id, f"{node.user_agent_name} {node.user_agent_version}".strip(), texts)


def parse_request(raw: bytes) -> sotw.Request:
    """Read a ``DiscoveryRequest``.

    Raises:
        InvalidInput: The bytes are no such message.
    """
    message = _parsed("DiscoveryRequest", raw)
    return sotw.Request(
        type=message.type_url,
        names=tuple(message.resource_names),
        nonce=message.response_nonce,
        version=message.version_info,
        error=_error(message),
        caller=_caller(message),
    )


def parse_delta_request(raw: bytes) -> delta.Request:
    """Read a ``DeltaDiscoveryRequest``.

    Raises:
        InvalidInput: The bytes are no such message.
    """
    message = _parsed("DeltaDiscoveryRequest", raw)
    return delta.Request(
        type=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        held={entry.key: entry.value for entry in message.initial_resource_versions},
        nonce=message.response_nonce,
        error=_error(message),
        caller=_caller(message),
    )


def response(answer: Answer) -> bytes:
    """Encode a ``DiscoveryResponse``."""
    header = _any_header(answer.type)
    parts = [_text(1, answer.version)]
    for resource in answer.resources:
        parts += _message_of(2, (*header, *_message_of(2, (resource.body,))))
    parts += (_text(4, answer.type), _text(5, answer.nonce))
    return b"".join(parts)


def delta_response(answer: Answer) -> bytes:
    """Encode a ``DeltaDiscoveryResponse``."""
    header = _any_header(answer.type)
    parts = [_text(1, answer.version)]
    for resource in answer.resources:
        parts += _message_of(2, _delta_resource(resource, header))
    parts += (_text(4, answer.type), _text(5, answer.nonce))
    parts += (_text(6, name) for name in answer.removed)
    return b"".join(parts)


def _delta_resource(resource: Resource, header: tuple[bytes, ...]) -> tuple[bytes, ...]:
    wrapped = _message_of(2, (*header, *_message_of(2, (resource.body,))))
    return (_text(1, resource.version), *wrapped, _text(3, resource.name))


def _any_header(url: str) -> tuple[bytes, ...]:
    """The first field of a ``google.protobuf.Any``; the second is the body."""
    return (_text(1, url),)


def _message_of(field: int, parts: Iterable[bytes]) -> tuple[bytes, ...]:
    """A length-delimited field whose content is left in pieces, so that large bodies are copied once only."""
    pieces = tuple(parts)
    return (_tag(field), _varint(sum(map(len, pieces))), *pieces)


def _text(field: int, value: str) -> bytes:
    raw = value.encode()
    return b"".join((_tag(field), _varint(len(raw)), raw)) if raw else b""


def _tag(field: int) -> bytes:
    return bytes((field << 3 | 2,))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
