"""Requests to measure a model with: made from its metadata, or read from a file in the protocol's JSON. Pure.

Source: Open Inference Protocol, "Inference Request JSON Object".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as wire

from inferno_runtime.errors import InvalidInput, Unsupported

# BF16 is a float32 whose lower half is cut off.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2",
        "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BF16": "<f4",
    }
)  # fmt: skip
# Size of a dimension that may be any: large enough to be work, small enough for every model.
_OPEN = 8
# Long enough that a model does not take a short cut for what is tiny.
_TEXT = b"What this model can do is measured with requests like this one, which say nothing but have some length. " * 2


def generated(metadata: Any, config: Any, batch: int) -> bytes:
    """An encoded ModelInferRequest with random values from a fixed seed: integers are 0 or 1, so that indices into
    tables stay in bounds; texts are one of 208 bytes; a dimension of any size is 8.

    Args:
        metadata: ``ModelMetadataResponse`` of the model.
        config: Its ``ModelConfig``.
        batch: Inferences in the request; more than 1 only for a model that batches.

    Raises:
        Unsupported: An input has a datatype that nothing can be made for.
    """
    random = np.random.default_rng(0)
    request = wire.ModelInferRequest(model_name=metadata.name)
    optional = {each.name for each in config.input if each.optional}
    for each in metadata.inputs:
        if each.name in optional and len(optional) < len(metadata.inputs):
            continue
        shape = [_OPEN if size < 0 else size for size in each.shape]
        if config.max_batch_size > 0:
            shape[0] = batch
        request.inputs.add(name=each.name, datatype=each.datatype, shape=shape)
        request.raw_input_contents.append(_random(random, each.name, each.datatype, math.prod(shape)))
    encoded: bytes = request.SerializeToString()
    return encoded


def _random(random: np.random.Generator, name: str, datatype: str, count: int) -> bytes:
    if datatype == "BYTES":
        return (len(_TEXT).to_bytes(4, "little") + _TEXT) * count
    if datatype not in _TYPES:
        raise Unsupported(
            f"Input {name!r} is of type {datatype}, for which no values can be made.",
            reason="NO_SAMPLES",
            fix="Give a request with --input FILE.",
        )
    kind = np.dtype(_TYPES[datatype])
    values = random.uniform(-1, 1, count) if kind.kind == "f" else random.integers(0, 2, count)
    return _raw(values.astype(kind), datatype)


def _raw(array: np.ndarray[Any, Any], datatype: str) -> bytes:
    if datatype == "BF16":
        return (array.view("<u4") >> 16).astype("<u2").tobytes()
    return array.tobytes()


def from_file(path: Path, metadata: Any, config: Any) -> tuple[bytes, int]:
    """The encoded request of a JSON file (an object with ``inputs``, each with name, datatype, shape and data), and how
    many inferences it holds.

    Raises:
        InvalidInput: It cannot be read, is no such object, or its data does not fill a shape.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _bad(path, f"is no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list) or not document["inputs"]:
        raise _bad(path, "holds no inputs")
    request = wire.ModelInferRequest(model_name=metadata.name)
    known = {each.name: each.datatype for each in metadata.inputs}
    for entry in document["inputs"]:
        name = entry.get("name", "") if isinstance(entry, dict) else ""
        if name not in known:
            raise _bad(path, f"has an input {name!r}, and {metadata.name} takes {', '.join(sorted(known))}")
        _add(request, path, entry, str(entry.get("datatype", known[name])))
    shape = request.inputs[0].shape
    return request.SerializeToString(), shape[0] if config.max_batch_size > 0 and shape else 1


def _add(request: Any, path: Path, entry: dict[str, Any], datatype: str) -> None:
    name, data = entry["name"], _flat(entry.get("data", []))
    shape = entry.get("shape", [len(data)])
    if not all(isinstance(size, int) for size in shape) or math.prod(shape) != len(data):
        raise _bad(path, f"has {len(data)} values of {name!r} for the shape {shape}")
    try:
        if datatype == "BYTES":
            texts = [str(each).encode() for each in data]
            raw = b"".join(len(each).to_bytes(4, "little") + each for each in texts)
        else:
            raw = _raw(np.array(data, np.dtype(_TYPES[datatype])), datatype)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise _bad(path, f"has values of {name!r} that are no {datatype}") from error
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(raw)


def _flat(data: object) -> list[Any]:
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [leaf for each in data for leaf in _flat(each)]
    return [data]


def _bad(path: Path, what: str) -> InvalidInput:
    return InvalidInput(
        f"{path} {what}.",
        reason="BAD_INPUT_FILE",
        fix='Write it like {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}.',
    )
