"""Envoy's admin interface over its Unix socket: the few calls a supervisor needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inferno_runtime.errors import Unavailable

_LARGEST_REPLY = 16 * 1024 * 1024


async def call(socket: Path, path: str, *, method: str = "GET", within: float = 1.0) -> tuple[int, str]:
    """Make one HTTP request; the status and the body.

    Raises:
        Unavailable: Nobody answers in time.
    """
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=_LARGEST_REPLY)
            try:
                writer.write(f"{method} {path} HTTP/1.0\r\nhost: envoy\r\ncontent-length: 0\r\n\r\n".encode())
                head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
            finally:
                writer.close()
        return int(head.split(b" ", 2)[1]), body.decode(errors="replace")
    except (OSError, TimeoutError, IndexError) as error:
        raise Unavailable(
            f"Envoy's admin interface at {socket} does not answer.",
            reason="ENVOY_ADMIN_UNREACHABLE",
            fix="Look at Envoy's own lines in the log.",
        ) from error


async def is_live(socket: Path) -> bool:
    """True when Envoy has its first configuration and its listeners are open."""
    try:
        status, _ = await call(socket, "/ready", within=0.5)
    except Unavailable:
        return False
    return status == 200


async def active_model_calls(socket: Path) -> int:
    """How many calls to models are under way; 0 when Envoy does not answer any more."""
    try:
        _, text = await call(socket, r"/stats?filter=^cluster\.model.*upstream_rq_active$")
    except Unavailable:
        return 0
    return sum(int(line.rpartition(":")[2]) for line in text.splitlines() if line.strip())


async def drain(socket: Path) -> None:
    """Ask clients to take their next calls elsewhere; listeners stay open and running calls go on."""
    await call(socket, "/drain_listeners?graceful&skip_exit", method="POST")
