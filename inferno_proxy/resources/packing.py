"""Bridges to the generated messages: extensions wrapped in ``Any``, durations, addresses, encoded parts joined."""

from __future__ import annotations

from datetime import timedelta

import betterproto2
from envoy_data_plane.envoy.config.core.v3 import Address as EnvoyAddress
from envoy_data_plane.envoy.config.core.v3 import Pipe, SocketAddress
from envoy_data_plane.google.protobuf import Any

from inferno_proxy.fleet import Address


def packed(message: betterproto2.Message) -> Any:
    """Wrap a message with its type URL."""
    return Any.pack(message)


def seconds(value: float) -> timedelta:
    """A protobuf duration."""
    return timedelta(seconds=value)


def envoy_address(where: Address | str) -> EnvoyAddress:
    """A TCP address, or the path of a Unix socket."""
    if isinstance(where, str):
        return EnvoyAddress(pipe=Pipe(path=where))
    return EnvoyAddress(socket_address=SocketAddress(address=where.host, port_value=where.port))


def delimited(field: int, body: bytes) -> bytes:
    """A length-delimited protobuf field, around a body that is already encoded."""
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
