"""A node whose certificate has ended: row 31, its part between data planes and nodes."""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.error
from pathlib import Path

import psutil

from benchmarks.cloud import Cloud, CloudError, load, wait_until
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import NODE, Relay, ask, beside, relay
from benchmarks.faults.view import RECOVERY, after, mesh_of, settled
from benchmarks.members import fronted, identified, new_authority
from inferno_backend.sidecar.sidecar import Sidecar
from inferno_runtime.identity.names import Role

# Seconds for which a node is watched that is to get no calls: four rounds of health checks.
_WATCHED = 2.0


async def certificate_ended(cloud: Cloud, path: Route) -> Measured:
    """Row 31: a fourth node takes TLS only. Its certificate ends, and its connections are cut so that it matters; then
    it has one of another CA, at last a good one.

    ``recovered``: from the good certificate until calls reach the node again.
    """
    by, stranger = new_authority(), new_authority()
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        # A control plane that begins reads what the proxy is in the mesh.
        identified(cloud.data_dir / "proxy" / "identity", by, Role.PROXY)
        real = min(one.node.grpc_address for one in (await view.nodes()).values())
        cloud.control_plane().kill()
        with tempfile.TemporaryDirectory(prefix="inf-") as scratch:
            folder = Path(scratch) / "identity"
            own = identified(folder, by, Role.NODE)
            async with relay(real) as (server, address), fronted(Path(scratch), own, address) as door:
                await _registered(cloud, door)
                async with load(path.target, env=path.env) as running:
                    await _called(server)
                    identified(folder, by, Role.NODE, ended=True)
                    await _cut(door)
                    wrong = await _calls_in_a_while(server)
                    identified(folder, stranger, Role.NODE)
                    wrong += await _calls_in_a_while(server)
                    since = time.monotonic()
                    identified(folder, by, Role.NODE)
                    await _called(server)
                    recovered = time.monotonic() - since
                    report = await after(running, 1)
                await asyncio.to_thread(ask, "DELETE", f"http://{cloud.endpoint}/register/{NODE}")
                await view.until(lambda nodes: NODE not in nodes, RECOVERY, "the node has left")
    report.failed += wrong
    return Measured(report, recovered=recovered, note=f"{wrong} calls while its certificate was not good")


async def certificate_unasked(cloud: Cloud, path: Route) -> Measured:
    """Control of row 31: the certificate of a node that is reached in the clear ends. Nobody looks at it."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        real = min(one.node.grpc_address for one in (await view.nodes()).values())
        with tempfile.TemporaryDirectory(prefix="inf-") as scratch:
            identified(Path(scratch), new_authority(), Role.NODE, ended=True)
            async with (
                relay(real) as (server, address),
                beside(cloud, view, address),
                load(path.target, env=path.env) as running,
            ):
                await _called(server)
                wrong = await _calls_in_a_while(server)
                report = await after(running, 0)
    report.failed += wrong
    return Measured(report, note=f"{wrong} calls while its certificate was not good")


async def _registered(cloud: Cloud, door: Sidecar) -> None:
    """Let the node in, as soon as the proxy can reach one that takes TLS."""
    node = {"node_id": NODE, "grpc_address": door.endpoints.grpc, "tls": True}
    until = time.monotonic() + RECOVERY
    while True:
        try:
            await asyncio.to_thread(ask, "POST", f"http://{cloud.endpoint}/register", node)
            return
        except urllib.error.URLError as error:
            if time.monotonic() > until:
                raise CloudError(f"the node is not let in: {error}") from error
        await asyncio.sleep(0.1)


async def _cut(door: Sidecar) -> None:
    """End every connection to the node: its Envoy is killed, and starts again."""
    old = door.pid
    psutil.Process(old).kill()
    await wait_until(lambda: door.pid not in (0, old) and not door.fault.value, RECOVERY, "another Envoy serves")


async def _called(server: Relay) -> None:
    """Wait until more calls have reached the node."""
    before = server.calls
    await wait_until(lambda: server.calls > before, RECOVERY, "the node gets calls")


async def _calls_in_a_while(server: Relay) -> int:
    before = server.calls
    await asyncio.sleep(_WATCHED)
    return server.calls - before
