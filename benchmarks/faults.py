"""The faults Inferno promises to survive, each as something that is done to a running cloud under load.

A scenario does one thing to one cloud, waits until the cloud has recovered, and returns what the load and the mesh saw.
It judges nothing: the end-to-end tests and the fault table (:mod:`benchmarks.chaos`) do. Rows are numbered as in
``docs/faults.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, RunningLoad, load, wait_until
from benchmarks.load import Report
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc

_RECOVERY = 20.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a fault did. Seconds; None: not measured in this scenario."""

    report: Report
    detected: float | None = None
    recovered: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """How the load reaches the mesh: a gRPC target and the environment it needs."""

    name: str
    target: str
    env: Mapping[str, str]


# Without retries, health checks and ejection in the data plane, and without restarts of the proxy's own processes.
NO_HEALING = "proxy:\n  healing: false\n"

Scenario = Callable[[Cloud, Route], Awaitable[Measured]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table: its promise in words and in numbers (seconds), and how to provoke it.

    The control run does ``control`` (the same scenario, unless another is named) to a cloud with ``control_config``;
    ``bites`` tells from it whether the fault did harm there. A control that never recovers has bitten as well.
    """

    row: int
    title: str
    promise: str
    scenario: Scenario
    proxyless: bool = False
    worst: float | None = None
    detect: float | None = None
    recover: float | None = None
    control: Scenario | None = None
    control_config: str = NO_HEALING
    bites: Callable[[Measured], bool] = lambda measured: measured.report.failed > 0


async def envoy_path(cloud: Cloud) -> Route:
    """Through the public port."""
    return Route("envoy", cloud.endpoint, {})


async def proxyless_path(cloud: Cloud, model: str = "whoami") -> Route:
    """Straight to the nodes, by xDS: the bootstrap is what ``inferno proxy bootstrap`` prints."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("inferno")),
        "proxy",
        "bootstrap",
        "--grpc",
        "--proxy",
        cloud.endpoint,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    json.loads(output)
    return Route("proxyless", f"xds:///{model}", {"GRPC_XDS_BOOTSTRAP_CONFIG": output.decode()})


class Mesh:
    """The operator's view, asked again and again while things break."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = mesh_service_pb2_grpc.MeshServiceStub(channel)

    async def nodes(self) -> dict[str, mesh.NodeView]:
        """Nodes by id; empty while the control plane does not answer."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await self._stub.ListNodes(mesh.ListNodesRequest(), timeout=1)
            return {view.node.node_id: view for view in answer.nodes}
        return {}

    async def clients(self) -> list[mesh.ClientView]:
        """Connected data planes; empty while the control plane does not answer."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await self._stub.ListClients(mesh.ListClientsRequest(), timeout=1)
            return list(answer.clients)
        return []

    @staticmethod
    def phase(view: mesh.NodeView) -> str:
        """The name of a node's phase."""
        return mesh.NodePhase.Name(view.phase)

    async def until(self, check: Callable[[dict[str, mesh.NodeView]], bool], within: float, what: str) -> float:
        """Seconds until ``check`` holds of the nodes."""
        start = time.monotonic()
        while not check(await self.nodes()):
            if time.monotonic() - start > within:
                raise TimeoutError(f"not within {within:g} s: {what}")
            await asyncio.sleep(0.02)
        return time.monotonic() - start


@asynccontextmanager
async def mesh_of(cloud: Cloud) -> AsyncIterator[Mesh]:
    """A connection to the cloud's MeshService, through the public port."""
    async with grpc.aio.insecure_channel(cloud.endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield Mesh(channel)


def _serving(count: int) -> Callable[[dict[str, mesh.NodeView]], bool]:
    return lambda nodes: sum(v.phase == mesh.NODE_PHASE_SERVING for v in nodes.values()) >= count


def _some_not_serving(nodes: dict[str, mesh.NodeView]) -> bool:
    return any(view.phase != mesh.NODE_PHASE_SERVING for view in nodes.values())


async def _settled(cloud: Cloud, view: Mesh) -> None:
    await view.until(_serving(len(cloud.nodes)), _RECOVERY, "every node serves")


async def _after(running: RunningLoad, seconds: float) -> Report:
    """Let the load go on for a while after recovery, then collect what it saw."""
    await asyncio.sleep(seconds)
    return await running.finish()


def _new_server(report: Report, known: set[int], since: float) -> float | None:
    """Seconds from ``since`` to the first answer of a server that did not exist before."""
    firsts = [at for pid, at in report.first_seen.items() if pid and int(pid) not in known]
    return max(firsts) - since if firsts else None


async def triton_killed(cloud: Cloud, path: Route, hold_ms: float = 0) -> Measured:
    """Rows 1 and 2: kill -9 of one model server."""
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
        known = {each.pid for each in cloud.tritons()}
        async with load(path.target, env=path.env, hold_ms=hold_ms) as running:
            since = time.monotonic()
            cloud.tritons()[0].kill()
            with contextlib.suppress(TimeoutError):
                await view.until(_some_not_serving, 5, "the death is noticed")
            detected = time.monotonic() - since
            await _settled(cloud, view)
            report = await _after(running, 1.5)
    return Measured(report, detected, _new_server(report, known, since))


async def triton_stopped(cloud: Cloud, path: Route) -> Measured:
    """Row 4: SIGSTOP of one model server, SIGCONT five seconds later."""
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
        victim = cloud.tritons()[0]
        # What hangs with the victim until it is continued fails.
        async with load(path.target, env=path.env, timeout=3) as running:
            since = time.monotonic()
            victim.suspend()
            try:
                with contextlib.suppress(TimeoutError):
                    await view.until(_some_not_serving, 5, "the hang is noticed")
                detected = time.monotonic() - since
                await asyncio.sleep(max(0.0, 5 - detected))
            finally:
                with contextlib.suppress(psutil.Error):
                    victim.resume()
            resumed = time.monotonic()
            await _settled(cloud, view)
            recovered = time.monotonic() - resumed
            report = await _after(running, 1)
    return Measured(report, detected, recovered)


async def triton_terminated(cloud: Cloud, path: Route) -> Measured:
    """Row 10: SIGTERM straight to one model server, which its agent did not ask for."""
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
        known = {each.pid for each in cloud.tritons()}
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            cloud.tritons()[0].terminate()
            await view.until(_some_not_serving, _RECOVERY, "the stop is noticed")
            detected = time.monotonic() - since
            await _settled(cloud, view)
            report = await _after(running, 1.5)
    return Measured(report, detected, _new_server(report, known, since))


async def rolling_restart(cloud: Cloud, path: Route) -> Measured:
    """Row 11: every node in turn is asked to stop, and comes back before the next one goes."""
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            for agent in cloud.agents():
                before = {node_id: one.node.incarnation for node_id, one in (await view.nodes()).items()}
                agent.terminate()

                def returned(nodes: dict[str, mesh.NodeView], before: dict[str, int] = before) -> bool:
                    renewed = [i for i, one in nodes.items() if one.node.incarnation != before.get(i)]
                    return bool(renewed) and _serving(len(before))(nodes)

                await view.until(returned, _RECOVERY, "the restarted node serves again")
            took = time.monotonic() - since
            report = await _after(running, 1)
    return Measured(report, recovered=took, note=f"{len(cloud.nodes)} nodes in {took:.1f} s")


async def undrained_restart(cloud: Cloud, path: Route) -> Measured:
    """Control of row 11: every model server in turn is told to stop, and nobody drains it first."""
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
        async with load(path.target, env=path.env) as running:
            for victim in cloud.tritons():
                victim.terminate()
                await view.until(_some_not_serving, _RECOVERY, "the stop is noticed")
                await _settled(cloud, view)
            report = await _after(running, 1)
    return Measured(report)


class Away:
    """Keeps the control plane from coming back: each process of it is stopped as soon as it appears."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._known: set[int] = set()
        self._held: list[psutil.Process] = []

    def kill(self) -> None:
        """End the one that runs."""
        running = self._cloud.control_plane()
        self._known.add(running.pid)
        running.kill()

    def hold(self) -> None:
        """Stop what has appeared since; call it again and again."""
        for each in self._cloud.find("inferno_proxy.control_plane"):
            if each.pid not in self._known:
                self._known.add(each.pid)
                with contextlib.suppress(psutil.Error):
                    each.suspend()
                    self._held.append(each)

    async def hold_for(self, seconds: float) -> None:
        """Keep it away for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.hold()
            await asyncio.sleep(0.02)

    def release(self) -> None:
        """Let it come back."""
        for each in self._held:
            with contextlib.suppress(psutil.Error):
                each.resume()


async def control_plane_killed(cloud: Cloud, path: Route) -> Measured:
    """Row 15: kill -9 of the control plane, which stays away for six seconds; the data plane goes on and reconnects."""
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
        away = Away(cloud)
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            away.kill()
            try:
                await away.hold_for(6)
            finally:
                away.release()
            await view.until(bool, _RECOVERY, "the control plane answers again")
            back = time.monotonic()
            while not await _envoy_connected(view):
                if time.monotonic() - back > _RECOVERY:
                    raise TimeoutError("no data plane came back")
                await asyncio.sleep(0.02)
            reconnected = time.monotonic() - back
            await _settled(cloud, view)
            report = await _after(running, 1)
    return Measured(report, recovered=reconnected, note=f"control plane back after {back - since:.2f} s")


async def _envoy_connected(view: Mesh) -> bool:
    return any(client.dialect == "envoy" for client in await view.clients())


async def control_plane_forgot(cloud: Cloud, path: Route) -> Measured:
    """Row 16: the control plane returns with empty memory while no agent can talk to it for four seconds."""
    return await _forgotten(cloud, path, disk_lost=False)


async def control_plane_forgot_its_disk(cloud: Cloud, path: Route) -> Measured:
    """Control of row 16: what the control plane wrote to disk is gone as well."""
    return await _forgotten(cloud, path, disk_lost=True)


async def _forgotten(cloud: Cloud, path: Route, *, disk_lost: bool) -> Measured:
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
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
                await wait_until(lambda: bool(cloud.find("inferno_proxy.control_plane")), 10, "a new control plane")
                await asyncio.sleep(4)
            finally:
                for agent in agents:
                    agent.resume()
            await _settled(cloud, view)
            report = await _after(running, 1)
    return Measured(report)


async def envoy_first(cloud: Cloud, path: Route) -> Measured:
    """Row 20: Envoy and the control plane die; Envoy returns while the control plane stays away.

    Requests that are due while no Envoy lives fail for want of a listener: the row promises how soon that ends.
    """
    async with mesh_of(cloud) as view:
        await _settled(cloud, view)
        away, envoy = Away(cloud), cloud.envoy()
        async with load(path.target, env=path.env) as running:
            cloud.control_plane().suspend()
            since = time.monotonic()
            envoy.kill()
            away.kill()
            try:
                served = await _first_answer(cloud, since, away)
                if served is None:
                    raise TimeoutError("Envoy never served without a control plane")
                # The data plane now runs without a control plane: it must go on, not only start.
                await away.hold_for(2)
            finally:
                away.release()
            await _settled(cloud, view)
            while not await _envoy_connected(view):
                await asyncio.sleep(0.02)
            report = await _after(running, 1)
    # The load's own connections dial again within 0.1 s.
    late = [due for due, _, _ in report.failures if due > since + served + 0.2]
    return Measured(report, recovered=served, note=f"{len(late)} failed after Envoy was back")


async def _first_answer(cloud: Cloud, since: float, away: Away) -> float | None:
    """Seconds until a model call is answered again; None after six seconds."""
    request = service_pb2.ModelInferRequest(model_name="whoami")
    tensor = request.inputs.add(name="hold_ms", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(0)
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 20),
        ("grpc.initial_reconnect_backoff_ms", 20),
    ]
    async with grpc.aio.insecure_channel(cloud.endpoint, options=options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while time.monotonic() - since < 6:
            away.hold()
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.ModelInfer(request, timeout=0.5)
                return time.monotonic() - since
            await asyncio.sleep(0.01)
    return None


FAULTS: tuple[Fault, ...] = (
    Fault(
        1,
        "Triton kill -9",
        "0 failed, noticed in 0.1 s, back in 4 s + model load",
        triton_killed,
        proxyless=True,
        detect=0.1,
        recover=6,
    ),
    Fault(
        4,
        "Triton SIGSTOP",
        "0 failed, noticed in 1 s, worst request 0.6 s (proxyless 1.5 s)",
        triton_stopped,
        proxyless=True,
        worst=0.6,
        detect=1,
    ),
    Fault(10, "Triton SIGTERM without drain", "0 failed", triton_terminated),
    Fault(11, "rolling restart of every node", "0 failed", rolling_restart, control=undrained_restart),
    Fault(
        15,
        "control plane kill -9",
        "0 failed, Envoy reconnected within 1 s of its return",
        control_plane_killed,
        proxyless=True,
        recover=1,
        # No request fails in the control either: there the control plane never comes back.
        bites=lambda _: False,
    ),
    Fault(
        16,
        "control plane returns with empty memory",
        "0 failed, nothing removed",
        control_plane_forgot,
        control=control_plane_forgot_its_disk,
        control_config="",
    ),
    Fault(
        20,
        "Envoy and control plane die, Envoy returns first",
        "serves the last good configuration within 1 s",
        envoy_first,
        recover=1,
        # Without an Envoy no connection is taken in either run: what differs is when serving begins again.
        bites=lambda measured: measured.recovered is None,
    ),
)
