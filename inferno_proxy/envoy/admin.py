"""Envoy's admin interface over its Unix socket: the few calls a supervisor needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from inferno_runtime.errors import Unavailable

_LARGEST_REPLY = 16 * 1024 * 1024


async def call(socket: Path, path: str, *, method: str = "GET", within: float = 1.0) -> tuple[int, str]:
    """Make one HTTP request; the status and the body as text.

    Raises:
        Unavailable: Nobody answers in time.
    """
    status, body = await fetch(socket, path, method=method, within=within)
    return status, body.decode(errors="replace")


async def fetch(socket: Path, path: str, *, method: str = "GET", within: float = 1.0) -> tuple[int, bytes]:
    """Make one HTTP request; the status and the body as it is.

    Raises:
        Unavailable: Nobody answers in time.
    """
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=_LARGEST_REPLY)
            try:
                # Envoy refuses HTTP/1.0, so the reply comes in chunks.
                head = f"{method} {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                writer.write(head.encode())
                status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])
                return status, b"".join([chunk async for chunk in _chunks(reader)])
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError) as error:
        raise Unavailable(
            f"Envoy's admin interface at {socket} does not answer.",
            reason="ENVOY_ADMIN_UNREACHABLE",
            fix="Look at Envoy's own lines in the log.",
        ) from error


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)


async def serves(socket: Path) -> bool:
    """Whether the Envoy that answers is live and listens.

    Live alone is not enough: after 15 s without a word from the control plane Envoy is live with nothing to serve.
    """
    try:
        status, _ = await call(socket, "/ready", within=0.5)
        return status == 200 and bool((await call(socket, "/listeners", within=0.5))[1].strip())
    except Unavailable:
        return False


async def active_model_calls(socket: Path) -> int:
    """How many calls to models are under way; 0 when Envoy does not answer any more."""
    try:
        _, text = await call(socket, r"/stats?filter=^cluster\.model.*upstream_rq_active$")
    except Unavailable:
        return 0
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines() if line.strip())


async def figures(socket: Path) -> str:
    """Everything an Envoy has counted of calls, for Prometheus.

    Raises:
        Unavailable: It does not answer in time.
    """
    kinds = r"^(inferno|cluster\.model|http|listener)"
    return (await call(socket, f"/stats/prometheus?usedonly&filter={kinds}", within=5.0))[1]


async def reopen_logs(socket: Path) -> None:
    """Open log files anew, after they were moved away."""
    await call(socket, "/reopen_logs", method="POST")


async def drain(socket: Path) -> None:
    """Ask clients to take their next calls elsewhere, within the time for draining that Envoy was started with; running
    calls go on, and so do listeners."""
    await call(socket, "/drain_listeners?graceful&skip_exit", method="POST")


async def retire(socket: Path) -> None:
    """Take no new connection, and send every connection away with its next answer.

    In this order: what waits in a listener's accept queue when it is closed is reset, and clients that were sent away
    while it is open would dial it again and again.
    """
    await call(socket, "/drain_listeners", method="POST")
    await call(socket, "/healthcheck/fail", method="POST")
