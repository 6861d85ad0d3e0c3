"""A node that is ten times slower than the others and fails nothing: row 5."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import Relay, beside, relay
from benchmarks.faults.view import RECOVERY, after, mesh_of, settled
from benchmarks.load import Report

# How long a call takes at each node, and how much longer at the slow one, in seconds: with the way there and back a
# call takes about 3 ms more than it holds the node.
_HOLD = 0.010
SLOWER = 9 * (_HOLD + 0.003)
# The promise is about the time from the tenth second on.
_LEARNING = 10.0
_MEASURED = 15.0


@asynccontextmanager
async def _in_place_of_one(cloud: Cloud) -> AsyncIterator[Relay]:
    """A relay that takes the place of a node, and can be made slow."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        real = min((await view.nodes()).values(), key=lambda one: one.node.grpc_address).node
        async with relay(real.grpc_address) as (slow, address), beside(cloud, view, address):
            await view.drain(real.node_id)
            try:
                yield slow
            finally:
                await view.drain(real.node_id, drained=False)


async def _loaded(path: Route, seconds: float) -> Report:
    async with load(path.target, hold_ms=1000 * _HOLD, env=path.env) as running:
        return await after(running, seconds)


async def node_slow(cloud: Cloud, path: Route) -> Measured:
    """Row 5: one of three nodes takes ten times as long from one moment on. ``ratio``: the slowest hundredth of calls
    from ten seconds later, against that of the healthy fleet."""
    async with _in_place_of_one(cloud) as slow:
        async with load(path.target, hold_ms=1000 * _HOLD, env=path.env) as running:
            async with asyncio.timeout(RECOVERY):
                await slow.called.wait()
            healthy = await after(running, _LEARNING)
        slow.delay = SLOWER
        learning = await _loaded(path, _LEARNING)
        before = slow.calls
        measured = await _loaded(path, _MEASURED)
    share = (slow.calls - before) / max(1, measured.sent)
    report = Report(
        sent=healthy.sent + learning.sent + measured.sent,
        succeeded=healthy.succeeded + learning.succeeded + measured.succeeded,
        failed=healthy.failed + learning.failed + measured.failed,
        statuses=measured.statuses,
        p99=measured.p99,
        worst=max(healthy.worst, learning.worst, measured.worst),
    )
    note = (
        f"p99 {1000 * healthy.p99:.0f} ms while well, {1000 * learning.p99:.0f} ms in the first ten seconds, "
        f"{1000 * measured.p99:.0f} ms then; the slow node got {100 * share:.1f} % of the calls"
    )
    return Measured(report, ratio=measured.p99 / healthy.p99, note=note)
