"""The node's page over HTTP: ``/metrics``, ``/telemetry``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import prometheus_client
from aiohttp import web

from inferno_backend.page.contents import Contents, document
from inferno_backend.page.figures import of_triton, registry
from inferno_backend.triton import metrics_page
from inferno_runtime import logs, process
from inferno_runtime.errors import InfernoError, InvalidInput, Unavailable
from inferno_runtime.identity.folder import IdentityFolder

_LOG = logs.get("page")
# A Triton that hangs must not keep the node's own figures from Prometheus, which waits 10 s by default.
_TRITON_SECONDS = 1.0
_STOP_WITHIN = 0.5


class Page:
    """Answers with what ``contents`` gives at the moment of the question."""

    def __init__(self, contents: Callable[[], Contents]) -> None:
        self._contents = contents
        self._registry = registry(contents)

    def application(self) -> web.Application:
        """Its four pages."""
        made = web.Application()
        made.router.add_get("/metrics", self._metrics)
        made.router.add_get("/telemetry", self._telemetry)
        made.router.add_get("/healthz", self._healthz)
        made.router.add_get("/readyz", self._readyz)
        return made

    async def _metrics(self, _: web.Request) -> web.Response:
        own = prometheus_client.generate_latest(self._registry)
        theirs = await self._tritons()
        return web.Response(body=own + theirs.encode(), headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

    async def _tritons(self) -> str:
        address = self._contents().state.endpoints.metrics
        if not address:
            return ""
        try:
            return of_triton(await metrics_page.fetch(address, _TRITON_SECONDS))
        except InfernoError as error:
            _LOG.debug("Triton's page is not passed on", error=error.message)
            return ""

    async def _telemetry(self, _: web.Request) -> web.Response:
        return web.json_response(document(self._contents()))

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        shown = self._contents()
        if shown.ready:
            return web.Response(text="ok\n")
        state = shown.state
        return web.Response(status=503, text=f"{state.condition.value}: {state.reason or 'no model is ready.'}\n")


@asynccontextmanager
async def serve(page: Page, host: str, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve until the block ends; gives the URL. Port 0: a free one; -1: nothing is served, and the URL is empty.

    Raises:
        Unavailable: PORT_IN_USE: the sentence says by whom.
        InvalidInput: BAD_ADDRESS: no address of this machine.
    """
    if port < 0:
        yield ""
        return
    holder = process.port_holder(host, port) if port else None
    if holder:
        raise Unavailable(
            f"The node's page cannot be served on {host}:{port}: the port is used by {holder}.",
            reason="PORT_IN_USE",
            fix="Choose another one with --page-port (0 picks a free one, -1 serves no page).",
        )
    runner = web.AppRunner(page.application(), access_log=None, shutdown_timeout=_STOP_WITHIN)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        except OSError as error:
            raise InvalidInput(
                f"The node's page cannot be served on {host}: {error.strerror or error}.",
                reason="BAD_ADDRESS",
                fix="Give an address of this machine with --page-host.",
            ) from error
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        yield f"{'https' if tls else 'http'}://{shown}:{bound}"
    finally:
        await runner.cleanup()


def for_members(folder: IdentityFolder) -> ssl.SSLContext:
    """TLS that lets in whoever shows a certificate of the mesh. :func:`renew` gives it a newer certificate.

    Raises:
        OSError: The identity cannot be read.
    """
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.verify_mode = ssl.CERT_REQUIRED
    renew(made, folder)
    return made


def renew(tls: ssl.SSLContext, folder: IdentityFolder) -> None:
    """Show the certificate that is in the folder now, and trust its CAs; open connections keep theirs.

    Raises:
        OSError: The identity cannot be read.
    """
    tls.load_cert_chain(folder.certificate, folder.key)
    tls.load_verify_locations(folder.authority)
