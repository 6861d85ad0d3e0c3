"""The network between the data plane and one node goes wrong, while the node is well: rows 8 and 9.

A fault proxy stands in front of one of the model servers, as a node of its own beside the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from benchmarks.cloud import Cloud, load, wait_until
from benchmarks.fault_proxy import FAIR, FaultProxy, Passing, Weather, fault_proxy
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import beside, quiet_after
from benchmarks.faults.view import RECOVERY, Mesh, after, mesh_of, settled

# Stands once in each request of the load.
_MARK = b"hold_ms"


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
