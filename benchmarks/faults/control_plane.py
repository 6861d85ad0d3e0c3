"""The control plane dies, forgets, or hangs: rows 15, 16, 17 and 20."""

from __future__ import annotations

import asyncio
import contextlib
import time

import grpc
import psutil
from tritonclient.grpc import service_pb2_grpc

from benchmarks.cloud import Cloud, CloudError, load, wait_until
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import RECOVERY, Away, Mesh, after, ended, mesh_of, settled, steady
from benchmarks.load import Report, whoami_request


async def control_plane_killed(cloud: Cloud, path: Route) -> Measured:
    """Row 15: kill -9 of the control plane, which stays away for six seconds; the data plane goes on and reconnects."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        away = _away(cloud)
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            cloud.control_plane().kill()
            try:
                await away.hold_for(6)
            finally:
                away.release()
            await view.until(bool, RECOVERY, "the control plane answers again")
            back = time.monotonic()
            while not await envoy_connected(view):
                if time.monotonic() - back > RECOVERY:
                    raise TimeoutError("no data plane came back")
                await asyncio.sleep(0.02)
            reconnected = time.monotonic() - back
            await settled(cloud, view)
            report = await after(running, 1)
    return Measured(report, recovered=reconnected, note=f"control plane back after {back - since:.2f} s")


def _away(cloud: Cloud) -> Away:
    return Away(lambda: cloud.find("inferno_proxy.control_plane"))


async def envoy_connected(view: Mesh) -> bool:
    """True when an Envoy has a stream to the control plane."""
    return any(client.dialect == "envoy" for client in await view.clients())


async def control_plane_forgot(cloud: Cloud, path: Route) -> Measured:
    """Row 16: the control plane returns with empty memory while no agent can talk to it for four seconds."""
    return await _forgotten(cloud, path, disk_lost=False)


async def control_plane_forgot_its_disk(cloud: Cloud, path: Route) -> Measured:
    """Control of row 16: what the control plane wrote to disk is gone as well."""
    return await _forgotten(cloud, path, disk_lost=True)


async def _forgotten(cloud: Cloud, path: Route, *, disk_lost: bool) -> Measured:
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        agents = cloud.agents()
        async with load(path.target, env=path.env) as running:
            for agent in agents:
                agent.suspend()
            try:
                cloud.control_plane().kill()
                if disk_lost:
                    for name in ("fleet.json", "last-good-envoy.snapshot", "last-good-grpc.snapshot"):
                        (cloud.data_dir / "proxy" / name).unlink()
                await asyncio.sleep(0.1)
                await wait_until(lambda: bool(cloud.find("inferno_proxy.control_plane")), 30, "a new control plane")
                # How long it takes to start is the machine's affair: from here on it waits for its agents.
                async with asyncio.timeout(RECOVERY):
                    while not await envoy_connected(view):
                        await asyncio.sleep(0.02)
                await asyncio.sleep(4)
            finally:
                for agent in agents:
                    agent.resume()
            await settled(cloud, view)
            report = await after(running, 1)
    return Measured(report)


async def envoy_first(cloud: Cloud, path: Route) -> Measured:
    """Row 20: Envoy and the control plane die; Envoy returns while the control plane stays away.

    Requests that are due while no Envoy lives fail for want of a listener: the row promises how soon that ends.
    """
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        await steady(cloud)
        away, envoy, control_plane = _away(cloud), cloud.envoy(), cloud.control_plane()
        async with load(path.target, env=path.env) as running:
            control_plane.suspend()
            since = time.monotonic()
            envoy.kill()
            control_plane.kill()
            await ended(envoy)
            try:
                served = await first_answer(cloud, since, away)
                if served is None:
                    raise TimeoutError("Envoy never served without a control plane")
                # The data plane now runs without a control plane: it must go on, not only start.
                await away.hold_for(2)
            finally:
                away.release()
            await settled(cloud, view)
            while not await envoy_connected(view):
                await asyncio.sleep(0.02)
            report = await after(running, 1)
    return Measured(report, recovered=served, note=late(report, since + served))


async def control_plane_hangs(cloud: Cloud, path: Route) -> Measured:
    """Row 17: the control plane is stopped and keeps its connections; its supervisor has to notice."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        victim = cloud.control_plane()
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            victim.suspend()
            try:
                await wait_until(lambda: victim.pid not in _control_planes(cloud), RECOVERY, "it is ended")
                detected = time.monotonic() - since
                await view.until(bool, RECOVERY, "the control plane answers again")
                back = time.monotonic() - since
                await settled(cloud, view)
            except CloudError as error:
                raise TimeoutError(str(error)) from error
            finally:
                with contextlib.suppress(psutil.Error):
                    victim.resume()
            report = await after(running, 1)
        told = [event.message for event in await view.events("CONTROL_PLANE_RESTARTED")]
    return Measured(report, detected, back, note=told[-1] if told else "no event tells of it")


def _control_planes(cloud: Cloud) -> set[int]:
    return {each.pid for each in cloud.find("inferno_proxy.control_plane")}


def late(report: Report, served: float) -> str:
    """How many requests failed after Envoy was back. The load's own connections dial again within 0.1 s."""
    after_that = [due for due, _, _ in report.failures if due > served + 0.2]
    return f"{len(after_that)} failed after Envoy was back"


async def first_answer(cloud: Cloud, since: float, away: Away | None = None) -> float | None:
    """Seconds until a model call is answered again; None after six seconds."""
    request = whoami_request("whoami", 0)
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 20),
        ("grpc.initial_reconnect_backoff_ms", 20),
    ]
    async with grpc.aio.insecure_channel(cloud.endpoint, options=options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while time.monotonic() - since < 6:
            if away is not None:
                away.hold()
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.ModelInfer(request, timeout=0.5)
                return time.monotonic() - since
            await asyncio.sleep(0.01)
    return None
