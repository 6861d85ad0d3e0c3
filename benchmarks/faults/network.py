"""The network between the data plane and one node goes wrong, while the node is well: rows 8, 9 and 39.

A fault proxy stands in front of one of the model servers, as a node of its own beside the others.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from benchmarks.cloud import Cloud, load, wait_until
from benchmarks.fault_proxy import FAIR, FaultProxy, Passing, Weather, fault_proxy
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import beside, quiet_after
from benchmarks.faults.view import RECOVERY, Mesh, after, mesh_of, serving, settled
from inferno.mesh.v1 import mesh_service_pb2 as mesh

# Stands once in each request of the load.
_MARK = b"hold_ms"
_LINGERING = "lingering"


async def cut_off(cloud: Cloud, path: Route) -> Measured:
    """Row 8: for four seconds nothing passes to or from one node, and no connection is told.

    ``detected``: until the last request that was sent there; ``recovered``: from the end of the cut to the next one.
    """
    async with (
        mesh_of(cloud) as view,
        _behind(cloud, view) as proxy,
        # What hangs with the node until the cut is over fails.
        load(path.target, env=path.env, timeout=3) as running,
    ):
        await wait_until(_asked(proxy), RECOVERY, "the node behind the proxy takes work")
        since = time.monotonic()
        proxy.become(Weather(passing=Passing.SWALLOWED))
        await asyncio.sleep(4)
        last = quiet_after(at for at in list(proxy.marked) if at >= since)
        detected = 0.0 if last is None else last - since
        restored = time.monotonic()
        proxy.become(FAIR)
        await wait_until(_asked(proxy), RECOVERY, "the node behind the proxy takes work again")
        recovered = time.monotonic() - restored
        report = await after(running, 1)
    lost = sum(since <= at < restored for at in proxy.marked)
    return Measured(report, detected, recovered, note=f"{lost} requests swallowed")


async def packets_lost(cloud: Cloud, path: Route) -> Measured:
    """Row 9: for six seconds a tenth of the segments to and from one node come a retransmission later."""
    async with (
        mesh_of(cloud) as view,
        _behind(cloud, view) as proxy,
        load(path.target, env=path.env, timeout=3) as running,
    ):
        await wait_until(_asked(proxy), RECOVERY, "the node behind the proxy takes work")
        sent, connections = len(proxy.marked), proxy.accepted
        proxy.become(Weather(loss=0.1))
        report = await after(running, 6)
    sent, connections = len(proxy.marked) - sent, proxy.accepted - connections
    note = f"emulated as retransmissions; {sent} requests over the lossy path, {connections} new connections"
    return Measured(report, note=note)


async def grpc_dead(cloud: Cloud, path: Route) -> Measured:
    """Row 39: for four seconds the gRPC side of one node's model server answers nothing, on no connection, while its
    HTTP side says that it is ready. An agent attached to it looks on.

    ``detected``: until the last request that was sent there; ``recovered``: from the end of the fault to the next one.
    """
    return await _grpc_dead(cloud, path, unseen=False)


async def grpc_dead_unseen(cloud: Cloud, path: Route) -> Measured:
    """Control of row 39: the agent does not look."""
    return await _grpc_dead(cloud, path, unseen=True)


async def _grpc_dead(cloud: Cloud, path: Route, *, unseen: bool) -> Measured:
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        # Rows before this one may have had model servers started again, on other ports.
        node = min((one.node for one in (await view.nodes()).values()), key=lambda one: one.node_id)
        command = cloud.triton_at(node.grpc_address).cmdline()
        metrics = next(word.partition("=")[2] for word in command if word.startswith("--metrics-port="))
        async with (
            fault_proxy(node.grpc_address, mark=_MARK) as proxy,
            # An address has one owner: what the first node's agent claims is not to be claimed again.
            fault_proxy(node.http_address) as http,
            _attached(cloud, proxy.address, http.address, f"127.0.0.1:{metrics}") as agent,
        ):
            await view.until(serving(len(cloud.nodes) + 1), RECOVERY, "the attached node serves")
            async with load(path.target, env=path.env, timeout=3) as running:
                await wait_until(_asked(proxy), RECOVERY, "the attached node takes work")
                if unseen:
                    agent.send_signal(signal.SIGSTOP)
                since = time.monotonic()
                proxy.become(Weather(passing=Passing.SWALLOWED))
                await asyncio.sleep(3)
                status = await _status(f"http://{http.address}/v2/health/ready")
                verdict = mesh.NodePhase.Name((await view.nodes())[_LINGERING].phase)
                last = quiet_after(at for at in list(proxy.marked) if at >= since)
                detected = 0.0 if last is None else last - since
                restored = time.monotonic()
                agent.send_signal(signal.SIGCONT)
                proxy.become(FAIR)
                await wait_until(_asked(proxy), RECOVERY, "the attached node takes work again")
                recovered = time.monotonic() - restored
                report = await after(running, 1)
        await view.until(lambda nodes: _LINGERING not in nodes, RECOVERY, "the attached node has left")
    lost = sum(since <= at < restored for at in proxy.marked)
    note = f"HTTP ready said {status} meanwhile, the mesh {verdict}; {lost} requests swallowed"
    return Measured(report, detected, recovered, note=note)


async def _status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


@asynccontextmanager
async def _attached(cloud: Cloud, grpc: str, http: str, metrics: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """An agent of its own for a model server that somebody else runs; it says goodbye at the end."""
    with tempfile.TemporaryDirectory(prefix="inferno-attached-") as folder:
        agent = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("inferno-backend")),
            *("--node-id", _LINGERING, "--data-dir", folder, "--discovery-lb", cloud.endpoint),
            *("--triton-url", grpc, "--triton-http-url", http, "--triton-metrics-url", metrics),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield agent
        finally:
            agent.terminate()
            try:
                async with asyncio.timeout(15):
                    await agent.wait()
            except TimeoutError:
                agent.kill()
                await agent.wait()


@asynccontextmanager
async def _behind(cloud: Cloud, view: Mesh) -> AsyncIterator[FaultProxy]:
    """A node more, behind a fault proxy."""
    await settled(cloud, view)
    real = min(one.node.grpc_address for one in (await view.nodes()).values())
    async with fault_proxy(real, mark=_MARK) as proxy, beside(cloud, view, proxy.address):
        yield proxy


def _asked(proxy: FaultProxy) -> Callable[[], bool]:
    """True once more requests have come than until now."""
    before = len(proxy.marked)
    return lambda: len(proxy.marked) > before
