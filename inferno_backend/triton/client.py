"""Triton's gRPC interface in our words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2_grpc
from tritonclient.grpc import service_pb2 as wire

from inferno_backend.cache_audit import Interface, Tensor
from inferno_backend.node import Model, ModelState, ModelVersion, Placement
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError, Unavailable

_CALL_SECONDS = 5.0
# Loading a large model takes minutes; Triton itself says when it failed.
_LOAD_SECONDS = 3600.0
# Name of the parameter of a model's configuration that makes it another one.
_AGAIN = "inferno_loaded_at"
_STATES = {state.value: state for state in ModelState}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the repository's index. ``version`` and ``state`` are empty for a model never loaded."""

    name: str
    version: str
    state: str
    reason: str


class TritonClient:
    """A connection to one Triton; an async context manager.

    Every method raises :class:`inferno_runtime.errors.InfernoError` as :func:`inferno_runtime.rpc.error_from_rpc` does,
    and Unavailable once the connection is closed: Triton's end closes it while others may be waiting for an answer.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = rpc.channel(address)
        self._closed = False
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        await self._channel.close(None)

    async def answers(self, model: str, timeout: float) -> bool:
        """True when the server answers a question about ``model`` (or about itself, when empty) within ``timeout`` s.

        What the answer says is not looked at: the index tells that. A server whose HTTP port answers may have died on
        its gRPC side, so the question goes the way of the requests.
        """
        try:
            if model:
                await self._stub.ModelReady(wire.ModelReadyRequest(name=model), timeout=timeout)
            else:
                await self._stub.ServerLive(wire.ServerLiveRequest(), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        except grpc.aio.UsageError:
            return False
        return True

    async def server_version(self) -> str:
        """The server's version, like ``2.51.0``."""
        answer = await self._call("ServerMetadata", wire.ServerMetadataRequest())
        return str(answer.version)

    async def index(self) -> tuple[Row, ...]:
        """Every model of the repository, with its versions' states."""
        answer = await self._call("RepositoryIndex", wire.RepositoryIndexRequest())
        return tuple(Row(one.name, one.version, one.state, one.reason) for one in answer.models)

    async def config(self, name: str) -> Model:
        """What the mesh must know of a loaded model; without its versions."""
        config = await self._config(name)
        return Model(
            name,
            stateful=config.HasField("sequence_batching"),
            decoupled=config.model_transaction_policy.decoupled,
            max_batch_size=config.max_batch_size,
            instance_count=sum(group.count * max(1, len(group.gpus)) for group in config.instance_group),
            platform=config.backend or config.platform,
            placement=_placement(config),
        )

    async def statistics(self) -> Mapping[Key, Counters]:
        """Counters of every version, for a Triton whose metrics page is out of reach: the queue is unknown (0)."""
        answer = await self._call("ModelStatistics", wire.ModelStatisticsRequest())
        return {
            (one.name, one.version): Counters(
                success=one.inference_stats.success.count,
                failure=one.inference_stats.fail.count,
                inferences=one.inference_count,
                executions=one.execution_count,
                request_micros=one.inference_stats.success.ns // 1000,
                queue_micros=one.inference_stats.queue.ns // 1000,
                compute_micros=(
                    one.inference_stats.compute_input.ns
                    + one.inference_stats.compute_infer.ns
                    + one.inference_stats.compute_output.ns
                )
                // 1000,
            )
            for one in answer.model_stats
        }

    async def interface(self, name: str) -> Interface:
        """What a loaded model takes and gives."""
        answer = await self._call("ModelMetadata", wire.ModelMetadataRequest(name=name))
        inputs = tuple(Tensor(one.name, one.datatype, tuple(one.shape)) for one in answer.inputs)
        return Interface(inputs, tuple(one.name for one in answer.outputs))

    async def infer(self, name: str, inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """Execute one request; the outputs, in the server's order."""
        request = wire.ModelInferRequest(model_name=name)
        for one in inputs:
            request.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
            request.raw_input_contents.append(one.data)
        answer = await self._call("ModelInfer", request)
        return tuple(
            Tensor(one.name, one.datatype, tuple(one.shape), data)
            for one, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
        )

    async def cached(self, name: str) -> bool:
        """True when a loaded model's answers are kept."""
        return bool((await self._config(name)).response_cache.enable)

    async def load(self, name: str, *, cached: bool | None = None) -> None:
        """Load a model and wait until it is ready.

        A loaded model goes on serving until it is replaced, and when that fails. Triton does nothing where its files
        are the same as before.

        ``cached`` None: as its repository says. Otherwise: a loaded model once more as it is, but with its answers kept
        or not.
        """
        config = None
        if cached is not None:
            config = await self._config(name)
            config.response_cache.enable = cached
        await self._load(name, config)

    async def load_again(self, name: str) -> None:
        """Load a loaded model once more as it is, though its files are the same: by a parameter no model knows.

        Triton takes a configuration of ours for a change when it differs from the one before.
        """
        config = await self._config(name)
        config.parameters[_AGAIN].string_value = str(time.time_ns())
        await self._load(name, config)

    async def _load(self, name: str, config: Any) -> None:
        request = wire.RepositoryModelLoadRequest(model_name=name)
        if config is not None:
            request.parameters["config"].string_param = json_format.MessageToJson(
                config, preserving_proto_field_name=True
            )
        await self._call("RepositoryModelLoad", request, _LOAD_SECONDS)

    async def _config(self, name: str) -> Any:
        return (await self._call("ModelConfig", wire.ModelConfigRequest(name=name))).config

    async def unload(self, name: str) -> None:
        """Unload a model; what runs is finished by the server."""
        await self._call("RepositoryModelUnload", wire.RepositoryModelUnloadRequest(model_name=name))

    async def _call(self, method: str, request: Any, timeout: float = _CALL_SECONDS) -> Any:
        try:
            return await getattr(self._stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise rpc.error_from_rpc(error, f"Triton at {self.address}") from error
        except grpc.aio.UsageError as error:
            raise self._ended() from error
        except asyncio.CancelledError as error:
            # What runs when the connection is closed looks to its caller as if the caller itself were cancelled.
            task = asyncio.current_task()
            if task is None or task.cancelling() or not self._closed:
                raise
            raise self._ended() from error

    def _ended(self) -> InfernoError:
        return Unavailable(
            f"Triton at {self.address} has ended.", reason="NO_TRITON", fix="Try again in a few seconds."
        )


def _placement(config: Any) -> Placement:
    """Where a model's instances are.

    Triton has filled in what the model's own file leaves out. An instance on a CPU keeps the model in service when GPUs
    fail, and so does one of the kind KIND_MODEL as long as there is another GPU.
    """
    kinds = model_config_pb2.ModelInstanceGroup.Kind
    groups = config.instance_group
    steps = tuple(dict.fromkeys(step.model_name for step in config.ensemble_scheduling.step))
    if any(group.kind in {kinds.KIND_CPU, kinds.KIND_AUTO} for group in groups):
        return Placement(steps=steps)
    if any(group.kind == kinds.KIND_MODEL or not group.gpus for group in groups):
        return Placement(any_gpu=True, steps=steps)
    return Placement(gpus=tuple(sorted({number for group in groups for number in group.gpus})), steps=steps)


def models_of(rows: Iterable[Row], configs: Mapping[str, Model], known: Mapping[str, str]) -> tuple[Model, ...]:
    """Put the index, the configurations and the models known to be broken (name to reason) together, by name.

    A model that is ready but whose configuration is not read yet is left out: whether it is stateful decides how its
    requests are routed.
    """
    versions: dict[str, list[ModelVersion]] = {}
    for row in rows:
        if row.state:
            state = _STATES.get(row.state, ModelState.UNAVAILABLE)
            # Triton's reasons end with a Python traceback; its first line says what is wrong.
            reason = row.reason.split("\n", 1)[0].strip()
            versions.setdefault(row.name, []).append(ModelVersion(row.version, state, reason))
    for name, reason in known.items():
        # Of a model without a version folder the index says nothing at all.
        versions.setdefault(name, [ModelVersion("", ModelState.UNAVAILABLE, reason)])
    models = []
    for name, found in sorted(versions.items()):
        config = configs.get(name)
        if config is None and any(one.state is ModelState.READY for one in found):
            continue
        models.append(replace(config or Model(name), versions=tuple(found)))
    return tuple(models)
