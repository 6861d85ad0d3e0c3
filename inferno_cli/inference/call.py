"""The calls themselves: what a model is, and what it answers, over the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonclient.grpc import service_pb2 as wire
from tritonclient.grpc import service_pb2_grpc

from inferno_cli.inference import tensors
from inferno_cli.inference.model import ModelSpec, TensorSpec
from inferno_cli.inference.requests import Request
from inferno_cli.inference.tensors import Tensor
from inferno_runtime.errors import Broken

if TYPE_CHECKING:
    import grpc

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of a model."""

    model: str
    version: str
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """How to call. ``sequence_id`` is a number or a text, None outside a sequence; ``headers`` are gRPC metadata."""

    version: str = ""
    sequence_id: int | str | None = None
    start: bool = False
    end: bool = False
    headers: Sequence[tuple[str, str]] = ()
    timeout: float = 60.0


class Model:
    """One model behind a channel."""

    def __init__(self, channel: grpc.aio.Channel, name: str, options: Options) -> None:
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._name = name
        self._options = options
        self._how: Mapping[str, Any] = {"timeout": options.timeout, "metadata": tuple(options.headers)}

    async def spec(self) -> ModelSpec:
        """Ask what the model expects.

        Raises:
            grpc.RpcError: The call failed, for example NOT_FOUND for an unknown model.
        """
        metadata = await self._stub.ModelMetadata(
            wire.ModelMetadataRequest(name=self._name, version=self._options.version), **self._how
        )
        answer = await self._stub.ModelConfig(
            wire.ModelConfigRequest(name=self._name, version=self._options.version), **self._how
        )
        optional = {each.name for each in answer.config.input if each.optional}
        return ModelSpec(
            name=self._name,
            inputs=tuple(_spec(each, optional) for each in metadata.inputs),
            outputs=tuple(_spec(each, set()) for each in metadata.outputs),
            max_batch_size=answer.config.max_batch_size,
            decoupled=answer.config.model_transaction_policy.decoupled,
            stateful=answer.config.HasField("sequence_batching"),
        )

    async def infer(self, request: Request) -> Answer:
        """One request, one answer.

        Raises:
            grpc.RpcError: The call failed.
        """
        return _answer(await self._stub.ModelInfer(self._wire(request), **self._how))

    async def stream(self, request: Request) -> AsyncIterator[Answer]:
        """One request of a decoupled model, and each answer as it comes.

        Raises:
            grpc.RpcError: The stream failed.
            Broken: The model answered with an error.
        """
        call = self._stub.ModelStreamInfer(iter([self._wire(request)]), **self._how)
        async for response in call:
            if response.error_message:
                raise Broken(
                    f"{self._name} failed: {response.error_message.rstrip('.')}.",
                    reason="MODEL_FAILED",
                    fix="The model server's log on the node has more.",
                )
            yield _answer(response.infer_response)

    def _wire(self, request: Request) -> wire.ModelInferRequest:
        options = self._options
        message = wire.ModelInferRequest(model_name=self._name, model_version=options.version)
        for tensor in request.tensors:
            message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            message.raw_input_contents.append(tensors.encode(tensor))
        if isinstance(options.sequence_id, int):
            message.parameters["sequence_id"].int64_param = options.sequence_id
        elif options.sequence_id is not None:
            message.parameters["sequence_id"].string_param = options.sequence_id
        if options.sequence_id is not None:
            message.parameters["sequence_start"].bool_param = options.start
            message.parameters["sequence_end"].bool_param = options.end
        return message


def _spec(tensor: Any, optional: set[str]) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape), tensor.name in optional)


def _answer(response: Any) -> Answer:
    raw = response.raw_output_contents
    outputs = [
        tensors.decode(each.name, each.datatype, each.shape, raw[at])
        if raw
        else tensors.from_list(each.name, each.datatype, each.shape, getattr(each.contents, _CONTENTS[each.datatype]))
        for at, each in enumerate(response.outputs)
    ]
    return Answer(response.model_name, response.model_version, tuple(outputs))
