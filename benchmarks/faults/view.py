"""How a scenario reaches a cloud, and what it asks the mesh while things break."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil

from benchmarks.cloud import Cloud, CloudError, RunningLoad, wait_until
from benchmarks.faults.fault import Route
from benchmarks.load import Report
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc

RECOVERY = 20.0
# A replaced Envoy may go on with its calls for 30 s.
RETIRED = 40.0


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

    async def events(self, kind: str) -> list[mesh.Event]:
        """The events of a kind that the control plane still knows."""
        found: list[mesh.Event] = []
        with contextlib.suppress(grpc.aio.AioRpcError):
            # The stream has no end; what is known comes at once.
            stream = self._stub.WatchEvents(mesh.WatchEventsRequest(), timeout=1)
            async for answer in stream:
                found += [answer.event] if answer.event.kind == kind else []
        return found

    async def drain(self, node_id: str, *, drained: bool = True) -> None:
        """Take new work from a node, or let it have some again."""
        if drained:
            await self._stub.DrainNode(mesh.DrainNodeRequest(node_id=node_id), timeout=5)
        else:
            await self._stub.UndrainNode(mesh.UndrainNodeRequest(node_id=node_id), timeout=5)

    async def told(self, kind: str, within: float) -> float:
        """Seconds until the mesh tells of a new event of this kind."""
        start = time.monotonic()
        async with asyncio.timeout(within):
            async for answer in self._stub.WatchEvents(mesh.WatchEventsRequest(only_new=True)):
                if answer.event.kind == kind:
                    break
        return time.monotonic() - start

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


def serving(count: int) -> Callable[[dict[str, mesh.NodeView]], bool]:
    """True of nodes of which this many serve."""
    return lambda nodes: sum(v.phase == mesh.NODE_PHASE_SERVING for v in nodes.values()) >= count


def some_not_serving(nodes: dict[str, mesh.NodeView]) -> bool:
    """True when the mesh has noticed that something is wrong with a node."""
    return any(view.phase != mesh.NODE_PHASE_SERVING for view in nodes.values())


async def settled(cloud: Cloud, view: Mesh) -> None:
    """Wait until every node of the cloud serves."""
    await view.until(serving(len(cloud.nodes)), RECOVERY, "every node serves")


async def steady(cloud: Cloud, envoys: int = 1) -> None:
    """Wait until no Envoy is left that another one has replaced."""
    try:
        await wait_until(lambda: len(cloud.envoys()) == envoys, RETIRED, f"{envoys} Envoys are left")
    except CloudError as error:
        raise TimeoutError(str(error)) from error


async def ended(process: psutil.Process) -> None:
    """Wait until a killed process serves nobody any more, whether or not its parent has noticed."""
    await wait_until(lambda: not lives(process), 20, "it is gone")


def lives(process: psutil.Process) -> bool:
    """False of a process that has ended, whether or not its parent has noticed."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def after(running: RunningLoad, seconds: float) -> Report:
    """Let the load go on for a while after recovery, then collect what it saw."""
    await asyncio.sleep(seconds)
    return await running.finish()


def new_server(report: Report, known: set[int], since: float) -> float | None:
    """Seconds from ``since`` to the first answer of a server that did not exist before."""
    firsts = [at for pid, at in report.first_seen.items() if pid and int(pid) not in known]
    return max(firsts) - since if firsts else None


class Away:
    """Keeps killed processes from coming back: what ``find`` finds anew is stopped as soon as it appears."""

    def __init__(self, find: Callable[[], list[psutil.Process]]) -> None:
        self._find = find
        self._known: set[int] = {each.pid for each in find()}
        self._held: list[psutil.Process] = []

    def hold(self) -> None:
        """Stop what has appeared since; call it again and again."""
        for each in self._find():
            if each.pid not in self._known:
                self._known.add(each.pid)
                with contextlib.suppress(psutil.Error):
                    each.suspend()
                    self._held.append(each)

    async def hold_for(self, seconds: float) -> None:
        """Keep them away for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.hold()
            await asyncio.sleep(0.02)

    def release(self) -> None:
        """Let them come back."""
        for each in self._held:
            with contextlib.suppress(psutil.Error):
                each.resume()
