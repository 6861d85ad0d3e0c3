"""A stand-in for Triton's gRPC side and for what starts it: for moments a real one is hard to catch in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2_grpc
from tritonclient.grpc import service_pb2 as wire

from inferno_backend.lives import End
from inferno_backend.node import Endpoints
from inferno_backend.triton.streams import Seen
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError, Unavailable


class StandIn(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers what an agent asks; ``models`` are name to state. ``failing`` methods answer UNAVAILABLE; ``gpus``
    are the models that run on one."""

    def __init__(self, **models: str) -> None:
        self.models = models
        self.failing: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.gpus: dict[str, int] = {}

    async def _check(self, method: str) -> None:
        self.asked[method] += 1
        if method in self.failing:
            raise Unavailable("Not now.", reason="NOT_NOW")

    async def ServerLive(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._check("ServerLive")
        return wire.ServerLiveResponse(live=True)

    async def ModelReady(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._check("ModelReady")
        return wire.ModelReadyResponse(ready=True)

    async def ServerMetadata(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._check("ServerMetadata")
        return wire.ServerMetadataResponse(version="2.51.0")

    async def RepositoryIndex(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._check("RepositoryIndex")
        answer = wire.RepositoryIndexResponse()
        for name, state in self.models.items():
            answer.models.add(name=name, version="1", state=state, reason="no weights" if state != "READY" else "")
        return answer

    async def ModelConfig(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._check("ModelConfig")
        answer = wire.ModelConfigResponse()
        answer.config.name = request.name
        answer.config.model_transaction_policy.decoupled = request.name == "decoupled"
        if request.name in self.gpus:
            kind = model_config_pb2.ModelInstanceGroup.KIND_GPU
            answer.config.instance_group.add(count=1, kind=kind, gpus=[self.gpus[request.name]])
        return answer

    async def RepositoryModelLoad(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._check("RepositoryModelLoad")
        self.models[request.model_name] = "READY"
        return wire.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._check("RepositoryModelUnload")
        self.models[request.model_name] = "UNLOADING"
        return wire.RepositoryModelUnloadResponse()


@asynccontextmanager
async def serving(stand_in: StandIn) -> AsyncIterator[str]:
    """Serve a stand-in; give its address."""
    server = rpc.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(stand_in, server)
    address = rpc.bind(server, "127.0.0.1:0")
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


class FakeLife:
    """A life that ends when a test says so, or when it is killed or stopped."""

    def __init__(self, address: str, *, has_answered: bool = False) -> None:
        self.endpoints = Endpoints(address)
        self.pid = 4711
        self.has_answered = has_answered
        self.cause = "It ended."
        self.late = False
        self.dead: dict[str, str] = {}
        self.loading: frozenset[str] = frozenset()
        self._over = asyncio.Event()

    def loads(self, model: str) -> int | None:
        return None

    def deaths(self, ready: frozenset[str]) -> Mapping[str, str]:
        told = {name: cause for name, cause in self.dead.items() if name in ready}
        for name in told:
            del self.dead[name]
        return told

    def note_answer(self) -> None:
        self.has_answered = True

    def streams(self) -> Seen:
        return {}

    def end(self, cause: str) -> None:
        self.cause = cause
        self._over.set()

    async def gone(self) -> None:
        await self._over.wait()

    async def ended(self) -> End:
        await self._over.wait()
        return End(self.cause, self.loading, self.late)

    def kill(self, why: str = "", *, late: bool = False) -> None:
        self.late = late
        self.end("It was killed.")

    async def stop(self) -> None:
        self.end("It was stopped.")


class FakeServer:
    """Gives out lives that a test prepares, one after the other."""

    broken: Mapping[str, str] = {}
    on_trial: tuple[str, ...] = ()

    def __init__(self, *starts: FakeLife | InfernoError | Callable[[], Awaitable[FakeLife]]) -> None:
        self._starts = iter(starts)
        self.kept: dict[str, bool] = {}

    async def start(self) -> FakeLife:
        found = next(self._starts)
        if isinstance(found, InfernoError):
            raise found
        return found if isinstance(found, FakeLife) else await found()

    def keep(self, model: str, *, loaded: bool) -> None:
        self.kept[model] = loaded

    def blame(self, end: End) -> bool:
        return False
