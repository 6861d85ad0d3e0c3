"""What becomes of the proxy's own processes: killed, hung, replaced, several of them."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from inferno_proxy.resources.names import grpc_cluster
from inferno_runtime.process import free_port
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.test_proxy import infer, nodes, traffic
from tests.integration.inferno_proxy.tritons import triton
from tests.waiting import eventually


async def event(running: Proxy, kind: str) -> Any:
    """The first event of a kind that the control plane tells of."""
    call = mesh_stubs.MeshServiceStub(running.channel).WatchEvents(mesh.WatchEventsRequest(), timeout=60)
    async for answer in call:
        if answer.event.kind == kind:
            call.cancel()
            return answer.event
    raise AssertionError(f"no {kind}")


def pids(running: Proxy, *words: str) -> set[int]:
    """The supervisor's children whose command line holds one of the words."""
    return {child.pid for word in words for child in running.children(word)}


async def test_a_control_plane_that_hangs_is_ended_and_its_successor_says_so(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address)) as running:
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        first = running.child("control_plane")
        async with traffic(running.channel) as outcomes:
            first.suspend()
            await eventually(lambda: not first.is_running(), 6, "it is ended")
            await eventually(lambda: nodes(running), 10, "its successor answers")
        assert all(outcomes)
        told = await event(running, "CONTROL_PLANE_RESTARTED")
        assert told.subject == "control-plane"
        assert told.cause == "The control plane hung"
        assert str(first.pid) in told.evidence
        assert told.duration.ToTimedelta().total_seconds() > 2


async def test_the_death_of_an_envoy_is_an_event_of_the_mesh(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address)) as running:
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        (pid,) = running.facts["envoy_pids"]
        running.child("--concurrency").kill()
        await eventually(lambda: pid not in pids(running, "--concurrency"), 5, "it is gone")
        await eventually(lambda: infer(running.channel), 5, "another one serves")
        told = await event(running, "ENVOY_RESTARTED")
        assert told.cause == "Envoy was killed by SIGKILL"
        assert f"process {pid} " in told.evidence
        assert "from the control plane" in told.effect


async def test_every_process_is_replaced_on_a_signal_without_a_failed_call(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir, "--backends", str(server.address), "--envoys", "2") as running:
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        before = pids(running, "--concurrency", "control_plane")
        assert len(before) == 3
        async with traffic(running.channel) as outcomes:
            running.process.send_signal(signal.SIGUSR2)

            def replaced() -> bool:
                now = pids(running, "--concurrency", "control_plane")
                return len(now) == 3 and not now & before

            await eventually(replaced, 20, "every process is another one")
            await eventually(lambda: nodes(running), 10, "the control plane answers")
        assert all(outcomes)

        async def data_planes() -> set[str]:
            stub = mesh_stubs.MeshServiceStub(running.channel)
            listed = await stub.ListClients(mesh.ListClientsRequest(), timeout=60)
            return {each.client_id for each in listed.clients}

        async def both() -> bool:
            return await data_planes() == {"envoy-1", "envoy-2"}

        await eventually(both, 5, "both follow the new control plane")


def _standby_knows(folder: Path, model: str) -> bool:
    return any(grpc_cluster(model).encode() in file.read_bytes() for file in folder.glob("standby-*.pb"))


async def test_who_follows_a_killed_supervisor_serves_before_its_control_plane_is_ready(socket_dir: Path) -> None:
    port = str(free_port())
    async with triton() as server:
        flags = ("--backends", str(server.address), "--port", port)
        async with proxy(socket_dir, *flags) as running:
            await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
            # The first one knows no node yet.
            kept = partial(_standby_knows, socket_dir, "m")
            await eventually(kept, 5, "a standby file that leads to the node")
            running.process.kill()
            await running.process.wait()
            async with proxy(socket_dir, *flags) as successor:
                assert await infer(successor.channel), "it serves the fleet it had from the first moment"
                await eventually(lambda: len(pids(successor, "--concurrency")) == 1, 10, "one Envoy is left")
                assert await nodes(successor)
