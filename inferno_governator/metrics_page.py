"""Prometheus metrics over HTTP, where an address is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from inferno_governator.metrics import Metrics
from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import Unavailable


@asynccontextmanager
async def serve_metrics(listen: str, metrics: Metrics) -> AsyncIterator[None]:
    """Serve ``/metrics`` on ``listen`` (host:port); an empty one serves nothing.

    Raises:
        InvalidInput: The address is malformed.
        Unavailable: It cannot be listened on.
    """
    if not listen:
        yield
        return
    host, port = parse_address(listen, "metrics_listen")

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/metrics", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise Unavailable(
                f"Metrics cannot be served on {listen}: {error.strerror}.",
                reason="PORT_IN_USE",
                fix="Choose another address with --metrics-listen.",
            ) from error
        yield
    finally:
        await runner.cleanup()
