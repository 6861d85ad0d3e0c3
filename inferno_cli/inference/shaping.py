"""From what people write to a tensor the model accepts, or one sentence that says why not. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inferno_cli.inference.model import ModelSpec, TensorSpec
from inferno_cli.inference.tensors import BF16, BYTES, DTYPES, Array, Tensor
from inferno_runtime.errors import InvalidInput


def tensor(value: object, spec: TensorSpec, model: ModelSpec) -> Tensor:
    """Turn JSON values, an array or bytes into the tensor of one input.

    A missing batch dimension is added, and a single value fills an input of one element.

    Raises:
        InvalidInput: Type or shape do not fit; the sentence says what the model expects.
    """
    array = _typed(value, spec, model)
    shape = _fit(array.shape, spec.shape, batches=model.batches)
    if shape is None:
        given = "[" + ",".join(map(str, array.shape)) + "]"
        raise _refusal(spec, model, f"has the shape {given}", "BAD_SHAPE")
    return Tensor(spec.name, spec.datatype, array.reshape(shape))


def _fit(given: Sequence[int], wanted: Sequence[int], *, batches: bool) -> tuple[int, ...] | None:
    """The shape to send, or None when the given one does not fit.

    >>> _fit((3, 2), (-1, 2), batches=True), _fit((2,), (-1, 2), batches=True), _fit((), (-1, 1), batches=True)
    ((3, 2), (1, 2), (1, 1))
    >>> _fit((3,), (2,), batches=False) is None
    True
    """
    candidates = [tuple(given)]
    if batches:
        candidates.append((1, *given))
    if math.prod(given) == 1 and not given:
        candidates.append((1,) * len(wanted))
    for shape in candidates:
        if len(shape) == len(wanted) and all(w in (-1, s) for s, w in zip(shape, wanted, strict=True)):
            return shape
    return None


def _typed(value: object, spec: TensorSpec, model: ModelSpec) -> Array:
    if spec.datatype == BYTES:
        return _texts(value, spec, model)
    if isinstance(value, bytes):
        raise _refusal(spec, model, "got the raw content of a file", "BAD_TYPE", "Give JSON or a .npy file.")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise _refusal(spec, model, "has rows of different length", "BAD_SHAPE") from error
    kind, wanted = array.dtype.kind, DTYPES[spec.datatype].kind
    if array.size == 0:
        return array.astype(DTYPES[spec.datatype])
    allowed = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[wanted]
    if kind not in allowed:
        raise _refusal(spec, model, f"has {_KINDS.get(kind, 'mixed values')}", "BAD_TYPE")
    if wanted in "iu":
        limits = np.iinfo(DTYPES[spec.datatype])
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise _refusal(spec, model, f"has values outside {limits.min} to {limits.max}", "OUT_OF_RANGE")
    return array.astype(np.float32 if spec.datatype == BF16 else DTYPES[spec.datatype])


_KINDS = {"b": "true or false", "i": "integers", "u": "integers", "f": "fractions", "U": "text", "S": "text"}


def _texts(value: object, spec: TensorSpec, model: ModelSpec) -> Array:
    shape = _depth(value, spec, model)
    array: Array = np.empty(shape, object)
    flat = array.reshape(-1)
    flat[:] = [_content(each, spec, model) for each in _leaves(value)]
    return flat.reshape(shape)


def _depth(value: object, spec: TensorSpec, model: ModelSpec) -> tuple[int, ...]:
    if isinstance(value, np.ndarray):
        return tuple(value.shape)
    if not isinstance(value, list):
        return ()
    shapes = {_depth(each, spec, model) for each in value}
    if len(shapes) > 1:
        raise _refusal(spec, model, "has rows of different length", "BAD_SHAPE")
    return (len(value), *(shapes.pop() if shapes else ()))


def _leaves(value: object) -> list[object]:
    if isinstance(value, np.ndarray):
        return list(value.reshape(-1))
    return [leaf for each in value for leaf in _leaves(each)] if isinstance(value, list) else [value]


def _content(value: object, spec: TensorSpec, model: ModelSpec) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise _refusal(
        spec, model, f"has {value!r}, which is no text", "BAD_TYPE", 'Write text as JSON strings: ["a","b"].'
    )


def _refusal(spec: TensorSpec, model: ModelSpec, what: str, reason: str, fix: str = "") -> InvalidInput:
    return InvalidInput(
        f"Input {spec.name!r} {what}; the model expects {spec}.",
        reason=reason,
        fix=fix or "Give values of that type and shape.",
        metadata={"model": model.name, "input": spec.name},
    )


def of_protocol(entry: dict[str, Any], spec: TensorSpec, model: ModelSpec) -> Tensor:
    """The tensor of one entry of a REST body (``name``, ``shape``, ``datatype``, ``data``); data may be flat.

    Raises:
        InvalidInput: The datatype is another, the data does not fill the shape, or they do not fit the model.
    """
    datatype = entry.get("datatype", spec.datatype)
    if datatype != spec.datatype:
        raise _refusal(spec, model, f"is said to be {datatype}", "BAD_TYPE")
    array = _typed(entry.get("data"), spec, model)
    shape = entry.get("shape", list(array.shape))
    if math.prod(shape) != array.size:
        raise _refusal(spec, model, f"has {array.size} values for the shape {shape}", "BAD_SHAPE")
    return tensor(array.reshape(shape), spec, model)
