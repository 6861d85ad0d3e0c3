"""The Unix sockets at which the control plane answers; they are gone when it has stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from aiohttp import web

from inferno_proxy.identity.gate import Gate
from inferno_proxy.services.grpc_server import ControlServices, grpc_server
from inferno_runtime import rpc

# Seconds that calls under way have to end.
_STOP_WITHIN = 2.0


@asynccontextmanager
async def listen_grpc(services: ControlServices, gate: Gate, path: Path) -> AsyncIterator[grpc.aio.Server]:
    """Serve over gRPC."""
    server = grpc_server(services, gate)
    rpc.bind(server, f"unix:{path}")
    await server.start()
    try:
        yield server
    finally:
        await server.stop(_STOP_WITHIN)
        path.unlink(missing_ok=True)


@asynccontextmanager
async def listen_http(application: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve over HTTP."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_STOP_WITHIN)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()
        path.unlink(missing_ok=True)
