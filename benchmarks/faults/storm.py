"""A whole fleet registers at once: row 27."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.cloud import Cloud
from benchmarks.control_plane import control_plane, cpu, figures, resident
from benchmarks.faults.fault import Measured, Route
from benchmarks.load import Report
from inferno_proxy.supervisor.layout import Layout

_NODES = 10_000
_PUSHES = 20


async def registration_storm(cloud: Cloud, path: Route) -> Measured:
    """Row 27: 10,000 agents in one process register with a control plane of their own, without an Envoy.

    Nodes that do not get in within two minutes, and pushes beyond 20, count as failed. ``recovered``: until the last
    is in.
    """
    del cloud, path
    with tempfile.TemporaryDirectory(prefix="inferno-storm-") as folder:
        layout = Layout(Path(folder))
        async with control_plane(layout) as process:
            before, spent_before = resident(process), cpu(process)
            swarm = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.swarm"),
                *("--target", f"unix:{layout.control_grpc}", "--nodes", str(_NODES), "--hold", "1"),
                stdout=asyncio.subprocess.PIPE,
                cwd=Path(__file__).parent.parent.parent,
            )
            top = before
            said = asyncio.create_task(swarm.communicate())
            while not said.done():
                top = max(top, resident(process))
                await asyncio.wait([said], timeout=0.2)
            heard = json.loads(said.result()[0].splitlines()[-1])
            spent = cpu(process) - spent_before
            told = await figures(layout)
    pushes = int(told["inferno_snapshot_serial"])
    lapsed = int(told.get('inferno_events_total{kind="LEASE_EXPIRED"}', 0))
    report = Report(sent=_NODES, succeeded=heard["accepted"])
    report.failed = _NODES - heard["accepted"] + max(0, pushes - _PUSHES)
    grown = top - before
    note = (
        f"{pushes} pushes, {spent:.0f} s of CPU, {lapsed} leases lapsed meanwhile, {sum(heard['refused'].values())} "
        f"streams to be tried again, {heard['heartbeats_per_second']} heartbeats/s at the end, {grown:.0f} MiB; "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    return Measured(report, recovered=heard["seconds"], grown=grown, note=note)
