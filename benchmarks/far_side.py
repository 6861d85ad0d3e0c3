"""Model servers at the far side of the wire, with a service time and a queue that the benchmark chooses.

Each is a gRPC server of the Open Inference Protocol on loopback. A call takes one of ``slots`` for ``service`` seconds,
times its own size, times the server's slowness, and waits in turn while none is free. Nothing is computed: what is
measured in front of them is how calls are shared out, on a machine too small to run a real fleet.

``python -m benchmarks.far_side '{"models": ["a"], "slowness": [1, 1, 10], "slots": 2, "service": 0.01}'`` prints the
ports as a JSON list and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno_runtime.process import spawn, terminate

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class FarSide:
    """Servers to run: one for each entry of ``slowness``. ``service`` in seconds."""

    models: Sequence[str]
    slowness: Sequence[float]
    slots: int = 1
    service: float = 0.01


class _Server(service_pb2_grpc.GRPCInferenceServiceServicer, health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the stubs carry no types
    def __init__(self, plan: FarSide, slowness: float, name: str) -> None:
        self._plan = plan
        self._slowness = slowness
        self._name = name
        self._slots = asyncio.Semaphore(plan.slots)

    async def RepositoryIndex(self, request: Any, context: Context) -> Any:
        index = service_pb2.RepositoryIndexResponse()
        for model in self._plan.models:
            index.models.add(name=model, version="1", state="READY")
        return index

    async def ModelConfig(self, request: Any, context: Context) -> Any:
        response = service_pb2.ModelConfigResponse()
        response.config.name = request.name
        response.config.instance_group.add(count=self._plan.slots)
        return response

    async def ServerMetadata(self, request: Any, context: Context) -> Any:
        return service_pb2.ServerMetadataResponse(name="far side", version="1")

    async def ModelInfer(self, request: Any, context: Context) -> Any:
        """The call's size is a number in its id, and the answer names the server."""
        async with self._slots:
            await asyncio.sleep(self._plan.service * self._slowness * float(request.id or 1))
        return service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=self._name)

    async def Check(self, request: Any, context: Context) -> Any:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


async def _serve(plan: FarSide) -> None:
    ports, servers = [], []
    for number, slowness in enumerate(plan.slowness):
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.http2.max_ping_strikes", 0)])
        one = _Server(plan, slowness, str(number))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(one, server)
        health_pb2_grpc.add_HealthServicer_to_server(one, server)
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.wait_for_termination() for server in servers))


@asynccontextmanager
async def far_side(plan: FarSide) -> AsyncIterator[list[int]]:
    """Run the servers in a process of their own; their ports."""
    argv = [sys.executable, "-m", "benchmarks.far_side", json.dumps(asdict(plan))]
    process = await spawn(argv, stdout=subprocess.PIPE, new_group=True)
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())
    finally:
        await terminate(process, grace=1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(FarSide(**json.loads(sys.argv[1]))))
