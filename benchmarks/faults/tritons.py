"""Model servers that die, hang or are stopped: rows 1, 2, 4, 10, 11 and 28."""

from __future__ import annotations

import asyncio
import contextlib
import time

import psutil

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import RECOVERY, after, mesh_of, new_server, serving, settled, some_not_serving
from inferno.mesh.v1 import mesh_service_pb2 as mesh


async def triton_killed(
    cloud: Cloud, path: Route, *, hold_ms: float = 0, rate: float = 100, unseen: bool = False
) -> Measured:
    """Rows 1 and 2: kill -9 of one model server; ``unseen``, its agent says nothing of it for a second."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        known = {each.pid for each in cloud.tritons()}
        async with load(path.target, env=path.env, hold_ms=hold_ms, rate=rate) as running:
            agents = cloud.agents() if unseen else []
            for agent in agents:
                agent.suspend()
            since = time.monotonic()
            try:
                cloud.tritons()[0].kill()
                if unseen:
                    await asyncio.sleep(1)
            finally:
                for agent in agents:
                    agent.resume()
            with contextlib.suppress(TimeoutError):
                await view.until(some_not_serving, 5, "the death is noticed")
            detected = time.monotonic() - since
            await settled(cloud, view)
            report = await after(running, 1.5)
    return Measured(report, detected, new_server(report, known, since))


async def triton_killed_at_work(cloud: Cloud, path: Route) -> Measured:
    """Row 2: kill -9 with work of 20 ms in flight, at a rate that the two nodes that are left can bear."""
    return await triton_killed(cloud, path, hold_ms=20, rate=60)


async def triton_killed_unseen(cloud: Cloud, path: Route) -> Measured:
    """Control of rows 1 and 2: agents notice a death so soon that a few requests a second may all miss it."""
    return await triton_killed(cloud, path, unseen=True)


async def triton_stopped(cloud: Cloud, path: Route) -> Measured:
    """Row 4: SIGSTOP of one model server, SIGCONT five seconds later."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        victim = cloud.tritons()[0]
        # What hangs with the victim until it is continued fails.
        async with load(path.target, env=path.env, timeout=3) as running:
            since = time.monotonic()
            victim.suspend()
            try:
                with contextlib.suppress(TimeoutError):
                    await view.until(some_not_serving, 5, "the hang is noticed")
                detected = time.monotonic() - since
                await asyncio.sleep(max(0.0, 5 - detected))
            finally:
                with contextlib.suppress(psutil.Error):
                    victim.resume()
            resumed = time.monotonic()
            await settled(cloud, view)
            recovered = time.monotonic() - resumed
            report = await after(running, 1)
    return Measured(report, detected, recovered)


async def triton_terminated(cloud: Cloud, path: Route) -> Measured:
    """Row 10: SIGTERM straight to one model server, which its agent did not ask for."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        known = {each.pid for each in cloud.tritons()}
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            cloud.tritons()[0].terminate()
            await view.until(some_not_serving, RECOVERY, "the stop is noticed")
            detected = time.monotonic() - since
            await settled(cloud, view)
            report = await after(running, 1.5)
    return Measured(report, detected, new_server(report, known, since))


async def rolling_restart(cloud: Cloud, path: Route) -> Measured:
    """Row 11: every node in turn is asked to stop, and comes back before the next one goes."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            for agent in cloud.agents():
                before = {node_id: one.node.incarnation for node_id, one in (await view.nodes()).items()}
                agent.terminate()

                def returned(nodes: dict[str, mesh.NodeView], before: dict[str, int] = before) -> bool:
                    renewed = [i for i, one in nodes.items() if one.node.incarnation != before.get(i)]
                    return bool(renewed) and serving(len(before))(nodes)

                await view.until(returned, RECOVERY, "the restarted node serves again")
            took = time.monotonic() - since
            report = await after(running, 1)
    return Measured(report, recovered=took, note=f"{len(cloud.nodes)} nodes in {took:.1f} s")


async def undrained_restart(cloud: Cloud, path: Route) -> Measured:
    """Control of row 11: every model server in turn is told to stop, and nobody drains it first."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        async with load(path.target, env=path.env) as running:
            for victim in cloud.tritons():
                victim.terminate()
                await view.until(some_not_serving, RECOVERY, "the stop is noticed")
                await settled(cloud, view)
            report = await after(running, 1)
    return Measured(report)


async def two_of_three_killed(cloud: Cloud, path: Route) -> Measured:
    """Row 28: kill -9 of every model server but one; their agents are held, so that none comes back for 5 s."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        addresses = {node_id: one.node.grpc_address for node_id, one in (await view.nodes()).items()}
        doomed = sorted(addresses)[1:]
        agents = [each for each in cloud.agents() if any(node_id in each.cmdline() for node_id in doomed)]
        async with load(path.target, env=path.env) as running:
            for agent in agents:
                agent.suspend()
            since = time.monotonic()
            try:
                for node_id in doomed:
                    cloud.triton_at(addresses[node_id]).kill()
                await view.until(lambda nodes: not serving(2)(nodes), RECOVERY, "the deaths are noticed")
                detected = time.monotonic() - since
                await asyncio.sleep(max(0.0, 5 - detected))
            finally:
                for agent in agents:
                    agent.resume()
            await settled(cloud, view)
            report = await after(running, 1)
    return Measured(report, detected, note=f"{len(doomed)} of {len(addresses)} nodes")
