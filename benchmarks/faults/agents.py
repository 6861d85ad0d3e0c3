"""Agents that die while their model servers live: row 13."""

from __future__ import annotations

import time

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import RECOVERY, Away, after, mesh_of, serving, settled
from inferno.mesh.v1 import mesh_service_pb2 as mesh


async def agents_killed(cloud: Cloud, path: Route) -> Measured:
    """Row 13: kill -9 of every agent; none comes back before all are shown as unmanaged, and two seconds more."""
    return await _killed(cloud, path, with_tritons=False)


async def agents_killed_with_their_tritons(cloud: Cloud, path: Route) -> Measured:
    """Control of row 13: the model servers die with their agents."""
    return await _killed(cloud, path, with_tritons=True)


async def _killed(cloud: Cloud, path: Route, *, with_tritons: bool) -> Measured:
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        before = {each.pid for each in cloud.tritons()}
        agents = cloud.agents()
        away = Away(cloud.agents)

        def unmanaged(nodes: dict[str, mesh.NodeView]) -> bool:
            away.hold()
            return bool(nodes) and all(one.phase == mesh.NODE_PHASE_UNMANAGED for one in nodes.values())

        async with load(path.target, env=path.env) as running:
            try:
                since = time.monotonic()
                for process in agents + (cloud.tritons() if with_tritons else []):
                    process.kill()
                detected = await view.until(unmanaged, 6, "every node is shown as unmanaged")
                await away.hold_for(2)
            finally:
                away.release()
            released = time.monotonic()
            await view.until(serving(len(cloud.nodes)), RECOVERY, "the agents have taken their nodes over")
            recovered = time.monotonic() - released
            report = await after(running, 1)
    adopted = len(before & {each.pid for each in cloud.tritons()})
    note = f"{adopted} of {len(before)} model servers adopted, {released - since:.1f} s without agents"
    return Measured(report, detected, recovered, note=note)
