"""Two proxies side by side, each with its own control plane, and a node that registers with both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.cloud import cloud, load
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from tests.e2e.conftest import Repository
from tests.e2e.test_nodes_come_and_go import program
from tests.e2e.test_telemetry import billed, requests
from tests.integration.inferno_proxy.proxies import proxy
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

SERVING, DRAINING = mesh.NODE_PHASE_SERVING, mesh.NODE_PHASE_DRAINING


async def seen(channel: grpc.aio.Channel) -> Any:
    """What a proxy makes of the node; None while it does not know it."""
    listed = await mesh_stubs.MeshServiceStub(channel).ListNodes(mesh.ListNodesRequest(), timeout=60)
    return next((each for each in listed.nodes if each.node.node_id == "n"), None)


async def shown(phase: Any, *channels: grpc.aio.Channel) -> list[Any]:
    """What each proxy makes of the node, once all show this phase."""

    async def all_show() -> list[Any]:
        views = [await seen(channel) for channel in channels]
        return views if all(view is not None and view.phase == phase for view in views) else []

    return await eventually(all_show, 60, "every proxy shows it")


async def test_each_serves_a_drain_is_the_nodes_and_one_that_is_killed_costs_the_other_nothing(
    tmp_path: Path, socket_dir: Path, repository: Repository
) -> None:
    models = repository("whoami")
    async with cloud(socket_dir / "up", nodes=0, model_repository=models) as running:
        socket = f"unix:{socket_dir / 'up' / 'governator' / 'governator.sock'}"
        options = [("grpc.enable_http_proxy", 0)]
        async with (
            proxy(socket_dir / "two", "--governator", socket) as second,
            grpc.aio.insecure_channel(running.endpoint, options=options) as first,
            program(
                *("inferno-backend", "--model-repository", str(models), "--node-id", "n"),
                # Telemetry goes through the first of them that takes it.
                *("--discovery-lb", f"{second.endpoint},{running.endpoint}", "--data-dir", str(tmp_path / "n")),
            ),
        ):
            await shown(SERVING, first, second.channel)
            stub: Any = mesh_stubs.MeshServiceStub(second.channel)
            await stub.DrainNode(mesh.DrainNodeRequest(node_id="n"), timeout=60)
            other, _ = await shown(DRAINING, first, second.channel)
            assert other.reason == f"The proxy at {second.endpoint} asked for it."
            await stub.UndrainNode(mesh.UndrainNodeRequest(node_id="n"), timeout=60)
            await shown(SERVING, first, second.channel)
            async with load(running.endpoint, rate=50) as traffic:
                async with load(second.endpoint, rate=50) as more:
                    await billed(running.endpoint, 50)
                    beside = await more.finish()
                second.process.kill()
                await second.process.wait()
                known = requests(await billed(running.endpoint, beside.succeeded))
                await billed(running.endpoint, known + 50)
                report = await traffic.finish()
            assert (beside.failed, report.failed) == (0, 0), [*beside.failures[:3], *report.failures[:3]]
            bill = await billed(running.endpoint, beside.succeeded + report.succeeded)
            assert requests(bill) == beside.succeeded + report.succeeded, "requests were counted twice"
