"""Envoys and their supervisor die, or are replaced: rows 18, 19, 21 and 37."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import grpc
import psutil
from tritonclient.grpc import service_pb2_grpc

from benchmarks.cloud import Cloud, CloudError, load, wait_until
from benchmarks.faults.control_plane import first_answer, late
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.streams import LONGEST, over_grpc
from benchmarks.faults.view import RECOVERY, RETIRED, Away, Mesh, after, ended, lives, mesh_of, settled, steady
from benchmarks.load import Report
from inferno.mesh.v1 import mesh_service_pb2 as mesh

# Two Envoys share the port.
PAIR = "proxy:\n  envoys: 2\n  models:\n    whoami: {hedge_after: 1}\n"
_STREAMS = 3
_RESTARTED = "ENVOY_RESTARTED"


async def envoy_killed(cloud: Cloud, path: Route) -> Measured:
    """Row 18: kill -9 of the only Envoy. Calls that are under way in it fail; what comes while none lives waits."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        await steady(cloud)
        victim = cloud.envoy()
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            victim.kill()
            await ended(victim)
            served = await first_answer(cloud, since)
            if served is None:
                raise TimeoutError("no Envoy came back")
            await settled(cloud, view)
            report = await after(running, 1)
    return Measured(report, recovered=served, gap=_gap(report), note=late(report, since + served))


async def one_of_two_envoys_killed(cloud: Cloud, path: Route) -> Measured:
    """Row 19: kill -9 of each of two Envoys on one port, one after the other, the busier one first.

    The load has a retry policy; a second one without tells how many calls were under way.
    """
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        async with (
            load(path.target, env=path.env, extra=("--channels", "8", "--retry")) as running,
            load(path.target, env=path.env, extra=("--channels", "8")) as bare,
        ):
            carried = []
            await steady(cloud, 2)
            for victim in sorted(cloud.envoys(), key=_connections, reverse=True):
                restarts = len(await view.events(_RESTARTED))
                carried.append(_connections(victim))
                since = time.monotonic()
                victim.kill()
                served = await first_answer(cloud, since)
                if served is None:
                    raise TimeoutError("nobody serves")
                # While one has not come back, the other one is the only one.
                while len(await view.events(_RESTARTED)) == restarts:
                    if time.monotonic() - since > RECOVERY:
                        raise TimeoutError("the Envoy that was killed did not come back")
                await steady(cloud, 2)
                await settled(cloud, view)
            without = await after(bare, 1)
            report = await after(running, 0)
    note = (
        f"they carried {' and '.join(map(str, carried))} connections; "
        f"{without.failed} of {without.sent} failed without a retry policy"
    )
    return Measured(report, note=note)


async def supervisor_killed(cloud: Cloud, path: Route) -> Measured:
    """Row 21: kill -9 of the proxy's supervisor; ``inferno up`` starts another one on the same port and folder."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        await steady(cloud)
        async with load(path.target, env=path.env) as running:
            since = await _kill_supervisor(cloud)
            served = await first_answer(cloud, since)
            if served is None:
                raise TimeoutError("nobody serves")
            await settled(cloud, view)
            ready = time.monotonic() - since
            # The Envoy that served from the standby file gives way to the one that follows the control plane.
            await steady(cloud)
            report = await after(running, 1)
    note = f"no orphan, one Envoy; all nodes registered after {ready:.1f} s; {late(report, since + served)}"
    return Measured(report, recovered=served, gap=_gap(report), note=note)


async def supervisor_killed_for_good(cloud: Cloud, path: Route) -> Measured:
    """Control of row 21: the supervisor that follows is held up."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        away = Away(lambda: cloud.find("inferno-proxy"))
        async with load(path.target, env=path.env) as running:
            since = await _kill_supervisor(cloud)
            try:
                served = await first_answer(cloud, since, away)
            finally:
                away.release()
            report = await after(running, 1)
    return Measured(report, recovered=served)


async def _kill_supervisor(cloud: Cloud) -> float:
    """The moment of the kill; returns when nothing it started is left.

    Raises:
        CloudError: An Envoy or a control plane outlived it for two seconds.
    """
    family = psutil.Process(cloud.proxy().pid).children(recursive=True)
    since = time.monotonic()
    cloud.proxy().kill()
    await wait_until(lambda: not any(map(lives, family)), 20, "no orphan is left")
    return since


async def upgraded(cloud: Cloud, path: Route) -> Measured:
    """Row 37: every process of Inferno is replaced under load and under streams: Envoys and control plane on SIGUSR2,
    then agent after agent, whose Tritons go on."""

    async def replaced() -> None:
        before = {each.pid for each in (*cloud.envoys(), cloud.control_plane())}

        def fresh() -> bool:
            now = {each.pid for each in (*cloud.envoys(), *cloud.find("inferno_proxy.control_plane"))}
            return len(now) == len(before) and not now & before

        cloud.proxy().send_signal(signal.SIGUSR2)
        await _within(fresh, "Envoys and control plane are other ones", RETIRED)

    return await _upgraded(cloud, path, replaced)


async def upgraded_by_killing(cloud: Cloud, path: Route) -> Measured:
    """Control of row 37: the Envoy is not replaced, but killed and started again."""

    async def replaced() -> None:
        since = time.monotonic()
        cloud.envoy().kill()
        if await first_answer(cloud, since) is None:
            raise TimeoutError("nobody serves")

    return await _upgraded(cloud, path, replaced)


async def _upgraded(cloud: Cloud, path: Route, replace_proxy: Callable[[], Awaitable[None]]) -> Measured:
    async with (
        mesh_of(cloud) as view,
        grpc.aio.insecure_channel(path.target, options=[("grpc.enable_http_proxy", 0)]) as channel,
    ):
        await settled(cloud, view)
        tritons = {each.pid for each in cloud.tritons()}
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        async with load(path.target, env=path.env) as running:
            begun = asyncio.Event()
            async with asyncio.TaskGroup() as group, asyncio.timeout(LONGEST):
                streams = [group.create_task(over_grpc(stub, begun)) for _ in range(_STREAMS)]
                await begun.wait()
                await replace_proxy()
            await settled(cloud, view)
            for agent in cloud.agents():
                await _replace_agent(agent, view)
                await settled(cloud, view)
            report = await after(running, 1)
        kept = tritons & {each.pid for each in cloud.tritons()}
    ends = Counter(stream.result() for stream in streams)
    cut = sum(count for end, count in ends.items() if end != "whole")
    said = ", ".join(f"{count} streams {end}" for end, count in sorted(ends.items()))
    note = f"{said}; {len(kept)} of {len(tritons)} model servers went on"
    return Measured(replace(report, sent=report.sent + _STREAMS, failed=report.failed + cut), note=note)


def _gap(report: Report) -> float:
    dues = [due for due, _, _ in report.failures]
    return max(dues) - min(dues) if dues else 0.0


def _connections(envoy: psutil.Process) -> int:
    """How many connections of clients an Envoy carries; those to nodes are about the same for all."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in envoy.net_connections(kind="tcp"))


async def _replace_agent(agent: psutil.Process, view: Mesh) -> None:
    before = _incarnations(await view.nodes())
    agent.kill()
    await view.until(lambda nodes: bool(nodes) and _incarnations(nodes) != before, RECOVERY, "the next agent")


def _incarnations(nodes: Mapping[str, mesh.NodeView]) -> dict[str, int]:
    """Which life of its agent speaks for each node."""
    return {name: one.node.incarnation for name, one in nodes.items()}


async def _within(check: Callable[[], bool], what: str, seconds: float = RECOVERY) -> None:
    try:
        await wait_until(check, seconds, what)
    except CloudError as error:
        raise TimeoutError(str(error)) from error
