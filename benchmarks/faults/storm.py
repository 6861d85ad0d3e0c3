"""A whole fleet registers at once: row 27."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from benchmarks.cloud import Cloud, wait_until
from benchmarks.faults.fault import Measured, Route
from benchmarks.load import Report
from inferno_proxy.fleet import Address
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_proxy.supervisor.layout import Layout

_NODES = 10_000
_PUSHES = 20
_MIB = 1024 * 1024


async def registration_storm(cloud: Cloud, path: Route) -> Measured:
    """Row 27: 10,000 agents in one process register with a control plane of their own, without an Envoy.

    Nodes that do not get in within two minutes, and pushes beyond 20, count as failed. ``recovered``: until the last
    is in.
    """
    del cloud, path
    with tempfile.TemporaryDirectory(prefix="inferno-storm-") as folder:
        layout = Layout(Path(folder))
        async with _control_plane(layout) as process:
            before, cpu = process.memory_info().rss, _cpu(process)
            swarm = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.swarm"),
                *("--target", f"unix:{layout.control_grpc}", "--nodes", str(_NODES), "--hold", "1"),
                stdout=asyncio.subprocess.PIPE,
                cwd=Path(__file__).parent.parent.parent,
            )
            top = before
            said = asyncio.create_task(swarm.communicate())
            while not said.done():
                top = max(top, process.memory_info().rss)
                await asyncio.wait([said], timeout=0.2)
            heard = json.loads(said.result()[0])
            spent = _cpu(process) - cpu
            figures = await _figures(layout)
    pushes = int(figures["inferno_snapshot_serial"])
    lapsed = int(figures.get('inferno_events_total{kind="LEASE_EXPIRED"}', 0))
    report = Report(sent=_NODES, succeeded=heard["accepted"])
    report.failed = _NODES - heard["accepted"] + max(0, pushes - _PUSHES)
    grown = (top - before) / _MIB
    note = (
        f"{pushes} pushes, {spent:.0f} s of CPU, {lapsed} leases lapsed meanwhile, {sum(heard['refused'].values())} "
        f"streams to be tried again, {heard['heartbeats_per_second']} heartbeats/s at the end, {grown:.0f} MiB; "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    return Measured(report, recovered=heard["seconds"], grown=grown, note=note)


@asynccontextmanager
async def _control_plane(layout: Layout) -> AsyncIterator[psutil.Process]:
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


async def _figures(layout: Layout) -> dict[str, float]:
    """The control plane's own metrics."""
    connector = aiohttp.UnixConnector(str(layout.control_http))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://control/metrics") as answer:
        lines = [line.rpartition(" ") for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
