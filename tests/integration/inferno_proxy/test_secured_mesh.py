"""A whole proxy with an identity, and a node that takes TLS only; the node has a real sidecar and no agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration
from inferno.registration.v1 import registration_service_pb2_grpc as registration_stubs
from inferno_backend.node import Endpoints
from tests.integration.inferno_backend.members import identified, mesh_authority
from tests.integration.inferno_backend.secured import fronted, wanted
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.tritons import triton
from tests.waiting import eventually


async def announce(running: Proxy, address: str) -> None:
    node = node_pb2.Node(node_id="one", incarnation=1, grpc_address=address, tls=True, models=[{"name": "m"}])  # type: ignore[list-item] # as protobuf takes it
    stub = registration_stubs.RegistrationServiceStub(running.channel)
    await stub.Announce(registration.AnnounceRequest(node=node), timeout=60)


async def test_its_models_are_read_routed_and_counted(socket_dir: Path, tmp_path: Path) -> None:
    by = mesh_authority()
    identified(socket_dir / "identity", by, "proxy/p")
    asked = wanted(tmp_path, by, "node/one")
    async with (
        triton() as server,
        fronted(asked, Endpoints(str(server.address))) as door,
        proxy(socket_dir) as running,
    ):
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(running.channel)

        async def served() -> bool:
            try:
                await stub.ModelInfer(pb.ModelInferRequest(model_name="m"), timeout=60)
            except grpc.aio.AioRpcError:
                return False
            return True

        await announce(running, door.endpoints.grpc)
        await eventually(served, 10, "calls pass")
        # Read by the control plane itself, and not announced.
        await eventually(lambda: server.calls.get("ModelConfig"), 10, "its models are read")
        answer = await stub.ModelStatistics(pb.ModelStatisticsRequest(name="m"), timeout=60)
        assert answer.model_stats[0].inference_count


async def test_a_proxy_without_an_identity_takes_no_such_node(socket_dir: Path) -> None:
    async with proxy(socket_dir) as running:
        with pytest.raises(grpc.aio.AioRpcError, match="no certificate of the mesh") as refused:
            await announce(running, "127.0.0.1:1")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
