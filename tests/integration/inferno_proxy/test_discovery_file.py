"""A running proxy follows a list of nodes in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno.mesh.v1 import mesh_service_pb2 as mesh
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.reloading.test_reload import events
from tests.integration.inferno_proxy.test_proxy import infer, nodes, traffic
from tests.integration.inferno_proxy.tritons import Triton, triton
from tests.waiting import eventually


def listed(*servers: Triton) -> str:
    return "nodes:\n" + "".join(f"  - {{node_id: n{each.address.port}, grpc: '{each.address}'}}\n" for each in servers)


async def answers(running: Proxy, server: Triton) -> bool:
    """Whether a request reaches this server."""
    before = server.calls.get("ModelInfer", 0)
    return await infer(running.channel) and server.calls.get("ModelInfer", 0) > before


async def test_nodes_come_and_go_with_the_file_and_nothing_is_lost(socket_dir: Path) -> None:
    file = socket_dir / "nodes.yaml"
    async with triton() as one, triton() as two:
        file.write_text(listed(one))
        async with proxy(socket_dir, "--discovery-file", str(file)) as mine:
            await eventually(lambda: infer(mine.channel), 20, "a request reaches the node")
            (first,) = (await nodes(mine)).values()
            assert first.source == mesh.NODE_SOURCE_FILE
            stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(mine.channel)
            held = stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m", id="held"), timeout=60)
            await eventually(lambda: one.calls.get("ModelInfer") == 2, 3, "a call is under way")
            file.write_text(listed(two))
            await eventually(lambda: answers(mine, two), 20, "the other node answers")
            file.write_text("nodes: [\n")
            (said,) = await events(mine, "DISCOVERY_REFUSED")
            assert f"({file}:2: this is not valid YAML" in said
            async with traffic(mine.channel) as outcomes:
                mine.child("inferno_proxy.control_plane").kill()
                await eventually(lambda: nodes(mine), 30, "the control plane is back")
                count = len(outcomes)
                await eventually(lambda: len(outcomes) > count + 5, 20, "more requests")
            assert all(outcomes)
            one.release.set()
            assert (await held).id == "held"
