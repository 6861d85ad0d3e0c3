"""What a model server without an agent says of itself, read over the Open Inference Protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno_proxy.fleet import Model, ModelState, ModelVersion

# A model may be loaded anew under the same version with another configuration, between two looks.
_REFRESH_EVERY = 100
_AT_ONCE = 8

_STATES = {
    "READY": ModelState.READY,
    "LOADING": ModelState.LOADING,
    "UNLOADING": ModelState.UNLOADING,
    "UNAVAILABLE": ModelState.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a server."""

    models: tuple[Model, ...]
    server_version: str


class Reader:
    """Reads one server again and again, asking for what does not change only once.

    ``named`` are the models to ask for when the server keeps no index (it is no Triton).
    """

    def __init__(self, channel: grpc.aio.Channel, named: Iterable[str] = ()) -> None:
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._named = tuple(named)
        self._configured: dict[str, Model] = {}
        self._version: str | None = None
        self._looks = 0

    async def read(self, timeout: float) -> Reading:
        """Look at the server.

        Raises:
            grpc.aio.AioRpcError: It does not answer as it should.
        """
        if self._looks % _REFRESH_EVERY == 0:
            self._configured.clear()
            self._version = None
        listed = await self._listed(timeout)
        self._configured = {name: model for name, model in self._configured.items() if _ready(listed.get(name, ()))}
        missing = [name for name, versions in listed.items() if _ready(versions) and name not in self._configured]
        gate = asyncio.Semaphore(_AT_ONCE)
        for model in await asyncio.gather(*(self._configuration(name, gate, timeout) for name in missing)):
            self._configured[model.name] = model
        if self._version is None:
            metadata = await self._stub.ServerMetadata(service_pb2.ServerMetadataRequest(), timeout=timeout)
            self._version = f"{metadata.name} {metadata.version}".strip()
        self._looks += 1
        models = tuple(
            replace(self._configured.get(name, Model(name)), versions=versions)
            for name, versions in sorted(listed.items())
        )
        return Reading(models, self._version)

    async def _listed(self, timeout: float) -> Mapping[str, tuple[ModelVersion, ...]]:
        try:
            index = await self._stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED or not self._named:
                raise
            return {name: await self._asked(name, timeout) for name in self._named}
        found: dict[str, tuple[ModelVersion, ...]] = {}
        for entry in index.models:
            # A model that was never loaded has neither version nor state: the fleet does not offer it.
            if entry.state:
                state = _STATES.get(entry.state, ModelState.UNAVAILABLE)
                version = ModelVersion(entry.version, state, entry.reason)
                found[entry.name] = (*found.get(entry.name, ()), version)
        return found

    async def _asked(self, name: str, timeout: float) -> tuple[ModelVersion, ...]:
        answer = await self._stub.ModelReady(service_pb2.ModelReadyRequest(name=name), timeout=timeout)
        return (ModelVersion("1", ModelState.READY if answer.ready else ModelState.UNAVAILABLE),)

    async def _configuration(self, name: str, gate: asyncio.Semaphore, timeout: float) -> Model:
        async with gate:
            try:
                answer = await self._stub.ModelConfig(service_pb2.ModelConfigRequest(name=name), timeout=timeout)
            except grpc.aio.AioRpcError as error:
                # Only Triton has a ModelConfig; of another server nothing more can be known.
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return Model(name)
                raise
        config = answer.config
        return Model(
            name=name,
            stateful=config.HasField("sequence_batching"),
            decoupled=config.model_transaction_policy.decoupled,
            max_batch_size=config.max_batch_size,
            instance_count=sum(group.count for group in config.instance_group),
            platform=config.backend or config.platform,
        )


def _ready(versions: Iterable[ModelVersion]) -> bool:
    return any(version.state is ModelState.READY for version in versions)
