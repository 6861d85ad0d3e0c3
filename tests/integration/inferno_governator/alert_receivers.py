"""Receivers of alerts: a webhook on a socket, and a real Alertmanager of Debian's package."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from inferno_runtime import process
from inferno_runtime.process import free_port
from tests.waiting import eventually


class Hook:
    """What was posted to ``url``; ``status`` is what it answers, ``alerts`` what it took of ours."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.asked = 0
        self.alerts: list[dict[str, Any]] = []
        self.headers: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.status == 200:
            self.alerts += (await request.json())["alerts"]
            self.headers.append(request.headers.get("authorization", ""))
        return web.Response(status=self.status, text=f"not now: {request.path_qs}" if self.status != 200 else "")

    @property
    def heard(self) -> list[tuple[str, str, str]]:
        """Subject, status and severity of each alert, in order."""
        return [(each["subject"], each["status"], each["severity"]) for each in self.alerts]


@asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    """A webhook until the end."""
    made = Hook()
    application = web.Application()
    application.router.add_post("/hook", made.take)
    application.router.add_post("/hook/{token}", made.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = "http://{}:{}/hook".format(*runner.addresses[0][:2])
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture(scope="session")
def alertmanager_program() -> Iterator[list[str]]:
    """How to run Alertmanager: installed, or unpacked from the package that apt fetches; without either, a skip."""
    installed = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if installed:
        yield [installed]
        return
    with tempfile.TemporaryDirectory(prefix="inf-am-") as folder:
        for argv in (["apt-get", "download", "prometheus-alertmanager"], ["sh", "-c", "dpkg -x prometheus-*.deb ."]):
            try:
                done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"no Alertmanager is installed, and {argv[0]} cannot fetch it: {error}")
            if done.returncode:
                pytest.skip(
                    f"no Alertmanager is installed, and {argv[0]} cannot fetch it: {done.stderr.strip()[-200:]}"
                )
        # Debian's reads its templates from /usr/share alone: it gets one of its own, in a namespace.
        share = f"mount -t tmpfs none /usr/share && cp -r {folder}/usr/share/prometheus /usr/share"
        if subprocess.run(["unshare", "-r", "-m", "sh", "-c", share], capture_output=True, check=False).returncode:
            pytest.skip("no Alertmanager is installed, and an unpacked one needs unshare(1), which may not mount here")
        run = f'{share} && exec {folder}/usr/bin/prometheus-alertmanager "$@"'
        yield ["unshare", "-r", "-m", "sh", "-c", run, "alertmanager"]


@asynccontextmanager
async def alertmanager(program: list[str], folder: Path) -> AsyncIterator[str]:
    """An Alertmanager until the end; yields its base URL."""
    config = folder / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    url = f"http://127.0.0.1:{free_port()}"
    argv = [
        *program,
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    child = await process.spawn(argv, cwd=folder, die_with_parent=signal.SIGKILL)
    try:
        await eventually(lambda: _ready(url), 30, "Alertmanager answers")
        yield url
    finally:
        await process.terminate(child, grace=10)


async def _ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def known_alerts(url: str) -> list[dict[str, Any]]:
    """The alerts that an Alertmanager knows and that last."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v2/alerts?active=true") as answer:
        found: list[dict[str, Any]] = await answer.json()
        return found
