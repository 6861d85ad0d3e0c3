"""A control plane by itself, without an Envoy, and what its process costs."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from benchmarks.cloud import wait_until
from inferno_proxy.fleet import Address
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_proxy.supervisor.layout import Layout

_MIB = 1024 * 1024


@asynccontextmanager
async def control_plane(layout: Layout) -> AsyncIterator[psutil.Process]:
    """A control plane's process that answers on its sockets."""
    HandOver(ProxySettings(), Address("127.0.0.1", 1)).write(layout.plan)
    ours, theirs = socket.socketpair()
    with ours, theirs, (layout.directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inferno_proxy.control_plane", str(layout.plan), str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stdout=log,
            stderr=log,
        )
        try:
            await wait_until(layout.control_http.exists, 30, "the control plane listens")
            await asyncio.sleep(1)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                async with asyncio.timeout(20):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def figures(layout: Layout) -> dict[str, float]:
    """The control plane's own metrics."""
    connector = aiohttp.UnixConnector(str(layout.control_http))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://control/metrics") as answer:
        lines = [line.rpartition(" ") for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def cpu(process: psutil.Process) -> float:
    """Seconds of CPU that a process has had, to the nanosecond: the usual counters tick a hundred times a second."""
    tasks = Path(f"/proc/{process.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def resident(process: psutil.Process) -> float:
    """Memory of a process in MiB."""
    return float(process.memory_info().rss) / _MIB
