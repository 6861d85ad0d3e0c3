"""A Triton stand-in: the Open Inference Protocol on loopback, with models that a test loads, unloads and breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno_proxy.fleet import Address

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Served:
    """One model of the stand-in: its state in Triton's words, and what its configuration says."""

    state: str = "READY"
    reason: str = ""
    version: str = "1"
    stateful: bool = False
    decoupled: bool = False
    max_batch_size: int = 0
    instances: int = 1


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer, health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the stubs carry no types
    """``calls`` counts each method; ``fails`` aborts a method with a status; ``on_infer`` sees each request. A request
    with the id ``held`` is answered once ``release`` is set."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 0)
        self.models: dict[str, Served] = {"m": Served()}
        self.calls: dict[str, int] = {}
        self.fails: dict[str, grpc.StatusCode] = {}
        self.on_infer: Callable[[Any], None] = lambda _: None
        self.release = asyncio.Event()
        self.server: grpc.aio.Server | None = None

    async def _enter(self, method: str, context: Context) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        if method in self.fails:
            await context.abort(self.fails[method], f"{method} is broken here")

    async def RepositoryIndex(self, request: Any, context: Context) -> Any:
        await self._enter("RepositoryIndex", context)
        index = service_pb2.RepositoryIndexResponse()
        for name, model in self.models.items():
            index.models.add(name=name, version=model.version, state=model.state, reason=model.reason)
        return index

    async def ModelConfig(self, request: Any, context: Context) -> Any:
        await self._enter("ModelConfig", context)
        model = self.models[request.name]
        response = service_pb2.ModelConfigResponse()
        config = response.config
        config.name, config.backend, config.max_batch_size = request.name, "python", model.max_batch_size
        config.model_transaction_policy.decoupled = model.decoupled
        config.instance_group.add(count=model.instances)
        if model.stateful:
            config.sequence_batching.max_sequence_idle_microseconds = 1
        return response

    async def ServerMetadata(self, request: Any, context: Context) -> Any:
        await self._enter("ServerMetadata", context)
        return service_pb2.ServerMetadataResponse(name="triton", version="2.51")

    async def ServerReady(self, request: Any, context: Context) -> Any:
        return service_pb2.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Context) -> Any:
        await self._enter("ModelReady", context)
        return service_pb2.ModelReadyResponse(ready=self.models[request.name].state == "READY")

    async def ModelStatistics(self, request: Any, context: Context) -> Any:
        await self._enter("ModelStatistics", context)
        if request.version and request.version != "1":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"version {request.version} is not at all here")
        response = service_pb2.ModelStatisticsResponse()
        for name in [request.name] if request.name else list(self.models):
            response.model_stats.add(name=name, version="1", inference_count=self.calls.get("ModelInfer", 0) + 1)
        return response

    async def ModelInfer(self, request: Any, context: Context) -> Any:
        await self._enter("ModelInfer", context)
        self.on_infer(request)
        if request.id == "held":
            await self.release.wait()
        if request.model_name not in self.models:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.model_name} here")
        return service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)

    async def Check(self, request: Any, context: Context) -> Any:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def triton(port: int = 0) -> AsyncIterator[Triton]:
    """Run a stand-in; it may also be stopped by the test itself."""
    stand_in = Triton()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.http2.max_ping_strikes", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(stand_in, server)
    health_pb2_grpc.add_HealthServicer_to_server(stand_in, server)
    stand_in.address = Address("127.0.0.1", server.add_insecure_port(f"127.0.0.1:{port}"))
    stand_in.server = server
    await server.start()
    try:
        yield stand_in
    finally:
        await server.stop(0)
