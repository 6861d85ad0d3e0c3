"""The moment a mesh is open: every node serves and every model answers through the public port."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterable

import grpc

from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_grpc
from inferno_runtime import rpc
from inferno_runtime.addresses import parse_address
from inferno_runtime.clock import Clock

_POLL_SECONDS = 0.05
_CALL_SECONDS = 2.0


async def wait_until_open(endpoint: str, nodes: Iterable[str], models: Iterable[str], clock: Clock) -> None:
    """Return once these nodes serve and these models are ready through the public port; the caller sets a deadline."""
    wanted = set(nodes)
    async with rpc.channel(endpoint) as channel:
        operator = mesh_grpc.MeshServiceStub(channel)
        while not wanted <= await _serving(operator):
            await clock.sleep(_POLL_SECONDS)
    for model in models:
        while not await asyncio.to_thread(_model_ready, endpoint, model):
            await clock.sleep(_POLL_SECONDS)


async def addresses(endpoint: str) -> dict[str, tuple[str, str]]:
    """Where each node of a mesh answers, gRPC and REST, by its name; of none while nobody tells."""
    async with rpc.channel(endpoint) as channel:
        try:
            answer = await mesh_grpc.MeshServiceStub(channel).ListNodes(mesh.ListNodesRequest(), timeout=_CALL_SECONDS)
        except grpc.RpcError:
            return {}
    return {view.node.node_id: (view.node.grpc_address, view.node.http_address) for view in answer.nodes}


async def _serving(operator: mesh_grpc.MeshServiceAsyncStub) -> set[str]:
    try:
        answer = await operator.ListNodes(mesh.ListNodesRequest(), timeout=_CALL_SECONDS)
    except grpc.RpcError:
        return set()
    return {view.node.node_id for view in answer.nodes if view.phase == mesh.NODE_PHASE_SERVING}


def _model_ready(endpoint: str, model: str) -> bool:
    # Through the data plane to a Triton: what a client will do next.
    connection = http.client.HTTPConnection(*parse_address(endpoint), timeout=_CALL_SECONDS)
    try:
        connection.request("GET", f"/v2/models/{model}/ready")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
