"""A real Prometheus of Debian's package, and small exporters for it to scrape."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from inferno_governator.prometheus.client import Prometheus
from inferno_runtime import process
from inferno_runtime.errors import InfernoError
from inferno_runtime.process import free_port
from tests.waiting import eventually


@pytest.fixture(scope="session")
def prometheus_program() -> Iterator[str]:
    """Where Prometheus is: installed, or unpacked from the package that apt fetches; without either, a skip."""
    installed = shutil.which("prometheus")
    if installed:
        yield installed
        return
    with tempfile.TemporaryDirectory(prefix="inf-prom-") as folder:
        for argv in (["apt-get", "download", "prometheus"], ["sh", "-c", "dpkg -x prometheus_*.deb ."]):
            try:
                done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"no Prometheus is installed, and {argv[0]} cannot fetch it: {error}")
            if done.returncode:
                pytest.skip(f"no Prometheus is installed, and {argv[0]} cannot fetch it: {done.stderr.strip()[-200:]}")
        yield f"{folder}/usr/bin/prometheus"


class Exporter:
    """A page of metrics at ``address``; ``page`` is what it shows, None that it is down."""

    def __init__(self) -> None:
        self.page: str | None = ""
        self.address = ""

    async def show(self, _: web.Request) -> web.Response:
        if self.page is None:
            return web.Response(status=503)
        return web.Response(text=self.page, content_type="text/plain")


@asynccontextmanager
async def exporter(page: str | None = "") -> AsyncIterator[Exporter]:
    """Serve a page until the end."""
    shown = Exporter()
    shown.page = page
    application = web.Application()
    application.router.add_get("/metrics", shown.show)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        shown.address = "{}:{}".format(*runner.addresses[0][:2])
        yield shown
    finally:
        await runner.cleanup()


@asynccontextmanager
async def prometheus(
    program: str, folder: Path, targets: dict[str, str], address: str | None = None
) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes targets (addresses by the names of their nodes) five times a second."""
    address = address or f"127.0.0.1:{free_port()}"
    config = folder / "prometheus.yml"
    # YAML is a superset of JSON.
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
                "scrape_configs": [
                    {
                        "job_name": "models",
                        "static_configs": [
                            {"targets": [target], "labels": {"node": node}} for node, target in targets.items()
                        ],
                    }
                ],
            }
        )
    )
    argv = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    child = await process.spawn(argv, cwd=folder, die_with_parent=signal.SIGKILL)
    try:
        async with Prometheus(address) as server:
            await eventually(lambda: _answers(server), 30, "Prometheus answers")
            yield server
    finally:
        await process.terminate(child, grace=10)


async def _answers(server: Prometheus) -> bool:
    try:
        return await server.now() > 0
    except InfernoError:
        return False


async def scraped(server: Prometheus, name: str, value: float, targets: int = 1) -> None:
    """Wait until a metric has been scraped with a value, of so many targets."""

    async def seen() -> bool:
        now = await server.now()
        found = await server.samples([name], now - 60_000, now)
        return sum(each.samples[-1][1] == value for each in found) == targets

    await eventually(seen, 30, f"Prometheus has scraped {name} {value:g}")
