"""Clients that mean harm, beside clients that do not: row 30."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.exceptions

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import after, mesh_of, settled

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LASTS = 16.0
_SLOW, _IDLE, _RESETTING = 50, 300, 4
_MIB = 1024 * 1024


@dataclass(slots=True)
class Attackers:
    """How many of one kind there were, and how long each of those lasted that the other side closed; seconds."""

    count: int
    closed: list[float]

    def __str__(self) -> str:
        return f"{len(self.closed)} of {self.count} closed" + (f" by {max(self.closed):.1f} s" if self.closed else "")


async def attacked(cloud: Cloud, path: Route) -> Measured:
    """Row 30: headers and prefaces sent a byte a second, streams opened and reset as fast as can be, and connections
    that say nothing, all at the public port for 16 s. ``recovered``: until the last of the first three kinds is closed.
    """
    return await _attack(cloud, path, cloud.endpoint, cloud.endpoint)


async def attacked_without_envoy(cloud: Cloud, path: Route) -> Measured:
    """Control of row 30: the same straight at a model server's own ports."""
    node = cloud.nodes[0]
    return await _attack(cloud, path, str(node["http_address"]), str(node["address"]))


async def _attack(cloud: Cloud, path: Route, http: str, grpc: str) -> Measured:
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        async with load(path.target, env=path.env) as running:
            watched = {"Envoy": cloud.envoy(), "control plane": cloud.control_plane()}
            before = {name: one.memory_info().rss for name, one in watched.items()}
            headers, prefaces, resets, idle = await asyncio.gather(
                _many(_SLOW, lambda: _slowly(http, b"GET /v2 HTTP/1.1\r\nx-slow: " + b"a" * 64)),
                _many(_SLOW, lambda: _slowly(grpc, _PREFACE)),
                _many(_RESETTING, lambda: _resetting(grpc)),
                _many(_IDLE, lambda: _slowly(http, b"")),
            )
            report = await after(running, 1)
            grown = {name: (one.memory_info().rss - before[name]) / _MIB for name, one in watched.items()}
    closed = headers, prefaces, resets
    whole = all(len(each.closed) == each.count for each in closed)
    recovered = max(max(each.closed) for each in closed) if whole else None
    note = f"slow headers: {headers}; slow prefaces: {prefaces}; rapid resets: {resets}; idle: {idle}; " + ", ".join(
        f"{name} {_signed(amount)} MiB" for name, amount in grown.items()
    )
    return Measured(report, recovered=recovered, note=note, grown=max(grown.values()))


def _signed(amount: float) -> str:
    return f"{amount:+.0f}"


async def _many(count: int, attack: Callable[[], Awaitable[float | None]]) -> Attackers:
    lasted = await asyncio.gather(*(attack() for _ in range(count)))
    return Attackers(count, [seconds for seconds in lasted if seconds is not None])


async def _slowly(address: str, data: bytes) -> float | None:
    """Send a byte a second, then nothing; seconds until the other side closed, None if it never did."""
    host, _, port = address.rpartition(":")
    since = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return 0.0
    at = 0
    try:
        while (left := since + _LASTS - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(1, left)):
                    while await reader.read(4096):
                        pass
                    return time.monotonic() - since
            # The end of a head never comes.
            writer.write(data[at : at + 1] if at + 4 < len(data) else b"")
            at += 1
    except OSError:
        return time.monotonic() - since
    finally:
        writer.close()
    return None


async def _resetting(address: str) -> float | None:
    """Open streams and reset them at once; seconds until the other side closed, None if it never did."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    head = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", address.encode()),
        (b":path", b"/inference.GRPCInferenceService/ServerLive"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    since = time.monotonic()
    try:
        while time.monotonic() - since < _LASTS:
            for _ in range(20):
                stream = client.get_next_available_stream_id()
                client.send_headers(stream, head)
                client.reset_stream(stream, error_code=8)
            writer.write(client.data_to_send())
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    if not (data := await reader.read(65536)):
                        return time.monotonic() - since
                    client.receive_data(data)
    except (OSError, h2.exceptions.ProtocolError):
        # Told to go away, or cut off.
        return time.monotonic() - since
    finally:
        writer.close()
    return None
