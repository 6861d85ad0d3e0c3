"""The Open Inference Protocol's gRPC service as the control plane answers it: calls that concern the whole fleet.

Calls for one model go from Envoy straight to a node and reach this only when no route exists for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as wire
from tritonclient.grpc import service_pb2_grpc as stubs

from inferno_proxy.services.fleet_inference import FleetInference
from inferno_runtime.errors import Unsupported
from inferno_runtime.identity.caller import caller_of

# tritonclient's stubs carry no types.
Message = Any
Context = grpc.aio.ServicerContext[Any, Any]

WHY_ONE_NODE = {
    "shared memory": "a region belongs to one machine, and the mesh may send each call to another one",
    "trace settings": "they belong to one model server, and the mesh is many",
    "log settings": "they belong to one model server, and the mesh is many",
}


def one_node_only(what: str) -> Unsupported:
    """The error for a call that makes sense on one node only."""
    return Unsupported(
        f"The mesh does not serve {what}: {WHY_ONE_NODE[what]}.",
        reason="ONE_NODE_ONLY",
        fix="Call the node's own address (inferno status lists them).",
    )


class InferenceService(stubs.GRPCInferenceServiceServicer):  # type: ignore[misc] # tritonclient carries no types
    """Translates between the wire and :class:`FleetInference`."""

    def __init__(self, fleet: FleetInference) -> None:
        self.fleet = fleet

    async def ServerLive(self, request: Message, context: Context) -> Message:
        """The mesh is there: this answers."""
        return wire.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Message, context: Context) -> Message:
        """Some node can serve."""
        return wire.ServerReadyResponse(ready=self.fleet.ready)

    async def ServerMetadata(self, request: Message, context: Context) -> Message:
        """The mesh's name, version and what works through it."""
        return self.fleet.metadata()

    async def RepositoryIndex(self, request: Message, context: Context) -> Message:
        """The union of the nodes' indices."""
        return self.fleet.index(only_ready=request.ready)

    async def ModelStatistics(self, request: Message, context: Context) -> Message:
        """The sum over the nodes; those that are missing are named in the trailer ``inferno-missing-nodes``."""
        found = await self.fleet.statistics(request.name, request.version, context.time_remaining())
        if found.missing:
            context.set_trailing_metadata((("inferno-missing-nodes", ",".join(found.missing)),))
        return found.response

    async def RepositoryModelLoad(self, request: Message, context: Context) -> Message:
        """Load on every node with an agent."""
        await self.fleet.load(request.model_name, request.parameters, caller_of(context), context.time_remaining())
        return wire.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Message, context: Context) -> Message:
        """Unload everywhere."""
        await self.fleet.unload(request.model_name, request.parameters, caller_of(context), context.time_remaining())
        return wire.RepositoryModelUnloadResponse()

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[Message], context: Context
    ) -> AsyncIterator[Message]:
        """Reached only when no route exists for the model."""
        async for request in request_iterator:
            yield self.fleet.refuse_model(request.model_name)

    async def _refuse_model(self, request: Message, context: Context) -> Message:
        """A call that names its model ``model_name``."""
        self.fleet.refuse_model(request.model_name)

    async def _refuse_name(self, request: Message, context: Context) -> Message:
        """A call that names its model ``name``."""
        self.fleet.refuse_model(request.name)

    async def _refuse_shared_memory(self, request: Message, context: Context) -> Message:
        raise one_node_only("shared memory")

    async def _refuse_trace(self, request: Message, context: Context) -> Message:
        raise one_node_only("trace settings")

    async def _refuse_log(self, request: Message, context: Context) -> Message:
        raise one_node_only("log settings")

    ModelInfer = _refuse_model
    ModelReady = _refuse_name
    ModelMetadata = _refuse_name
    ModelConfig = _refuse_name
    SystemSharedMemoryStatus = _refuse_shared_memory
    SystemSharedMemoryRegister = _refuse_shared_memory
    SystemSharedMemoryUnregister = _refuse_shared_memory
    CudaSharedMemoryStatus = _refuse_shared_memory
    CudaSharedMemoryRegister = _refuse_shared_memory
    CudaSharedMemoryUnregister = _refuse_shared_memory
    TraceSetting = _refuse_trace
    LogSettings = _refuse_log
