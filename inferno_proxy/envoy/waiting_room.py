"""Where connections wait in the moment in which no Envoy lives.

The kernel refuses a connection to a port on which nobody listens, and a gRPC client whose connection was refused fails
every call for a second before it dials again. So this process listens on the public address too, but behind Envoy: with
an IPv6 socket bound to the IPv4-mapped address. Linux prefers an IPv4 listener whenever there is one (the score of
``inet_lookup_listener``), and the moment Envoy's are gone, connections come here.

No request is read here, let alone passed on. A gRPC client is told ``SETTINGS``, so that it counts as connected and
sends, and once Envoy serves ``GOAWAY`` with last stream 0: none of this was looked at, send it again elsewhere. gRPC
libraries do that by themselves, for every call (transparent retry). HTTP/1.1 has no such word: it is answered 503 with
``Retry-After: 0``.
Sources: RFC 9113 section 6.8, RFC 9110 section 10.2.3, gRPC A6 (transparent retries).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct

from inferno_proxy.fleet import Address
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.latest import Latest

_LOG = logs.get("waiting-room")
# Seconds. Whoever comes in the moment before Envoy's death is noticed must not be sent back to it.
_NOTICED = 0.1
_FAREWELL = 1.0
_BACKLOG = 4096
# Nobody's bytes are kept; an HTTP/2 client stops by itself at the 64 KiB its streams may send unasked.
_DISCARDED = 64 * 1024


def _frame(kind: int, body: bytes = b"") -> bytes:
    """An HTTP/2 frame of the connection itself: length (24 bit), type, flags, stream 0. RFC 9113 section 4.1."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, 0, 0) + body


_SETTINGS = _frame(0x4)
_GOAWAY = _frame(0x7, struct.pack(">II", 0, 0))
_PREFACE = b"PRI"
_COME_AGAIN = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class WaitingRoom:
    """Takes connections on the public address while no Envoy does. ``serving`` tells whether one lives.

    Where Envoy speaks TLS this does too, with the certificate in ``tls``; it asks for none.

    After ``patience`` seconds without an Envoy the port is closed, so that clients and probes see what is true.
    Only for IPv4: for an IPv6 address Linux has no listener that stands behind another.
    """

    def __init__(
        self,
        listen: Address,
        serving: Latest[bool],
        clock: Clock,
        patience: float = 3.0,
        tls: IdentityFolder | None = None,
    ) -> None:
        self._listen = listen
        self._serving = serving
        self._clock = clock
        self._patience = patience
        self._tls = tls

    async def run(self) -> None:
        """Keep it open while an Envoy lives and for ``patience`` seconds after, until cancelled."""
        if ":" in self._listen.host:
            return
        while True:
            await self._serving.wait_for(bool)
            server = await asyncio.start_server(self._take, sock=self._behind_envoy(), backlog=_BACKLOG)
            async with server:
                await self._until_deserted()
            _LOG.error("no envoy lives; the port is closed", port=self._listen.port)

    async def _until_deserted(self) -> None:
        while True:
            await self._serving.wait_for(lambda serves: not serves)
            try:
                async with asyncio.timeout(self._patience):
                    await self._serving.wait_for(bool)
            except TimeoutError:
                return

    def _behind_envoy(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((f"::ffff:{self._listen.host}", self._listen.port))
        return listener

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first bytes to its end."""
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(self._patience + _FAREWELL):
                if self._tls is not None:
                    await writer.start_tls(_server_side(self._tls))
                speaks_http2 = await reader.readexactly(len(_PREFACE)) == _PREFACE
                if speaks_http2:
                    writer.write(_SETTINGS)
                emptying = asyncio.create_task(_discard(reader))
                try:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._patience):
                            await self._clock.sleep(_NOTICED)
                            await self._serving.wait_for(bool)
                    writer.write(_GOAWAY if speaks_http2 else _COME_AGAIN)
                    # TLS has no half of a connection to close.
                    if writer.can_write_eof():
                        writer.write_eof()
                    # Closed with bytes unread, the kernel would send a reset, and the last words could be lost.
                    await emptying
                finally:
                    emptying.cancel()
        writer.close()


def _server_side(folder: IdentityFolder) -> ssl.SSLContext:
    """The certificate as it is now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder.certificate, folder.key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(_DISCARDED):
        pass
