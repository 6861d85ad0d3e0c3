"""Tensors of the Open Inference Protocol: datatypes, values and their bytes on the wire.

Source: Open Inference Protocol, "Tensor Data Types" and the raw representation of ``raw_input_contents``: little-endian
elements in row-major order; for BYTES each element is four bytes of length and its content.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BYTES = "BYTES"
# BF16 has no numpy type: it is a float32 whose lower half is cut off.
BF16 = "BF16"
DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype("?"),
        **{
            f"{'U' if kind == 'u' else ''}INT{8 * size}": np.dtype(f"<{kind}{size}")
            for kind in "iu"
            for size in (1, 2, 4, 8)
        },
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        BF16: np.dtype("<f4"),
        BYTES: np.dtype(object),
    }
)
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array with its protocol datatype; BYTES arrays hold ``bytes`` objects."""

    name: str
    datatype: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return tuple(self.array.shape)


def encode(tensor: Tensor) -> bytes:
    """The raw bytes of a tensor."""
    if tensor.datatype == BYTES:
        return b"".join(_LENGTH.pack(len(each)) + each for each in tensor.array.ravel())
    if tensor.datatype == BF16:
        return (np.ascontiguousarray(tensor.array, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(tensor.array, DTYPES[tensor.datatype]).tobytes()


def decode(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Tensor:
    """A tensor from its raw bytes."""
    if datatype == BYTES:
        array = _objects(_elements(raw))
    elif datatype == BF16:
        array = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    else:
        array = np.frombuffer(raw, DTYPES[datatype])
    return Tensor(name, datatype, array.reshape(tuple(shape)))


def from_list(name: str, datatype: str, shape: Sequence[int], values: Sequence[Any]) -> Tensor:
    """A tensor from flat typed contents, the protocol's other representation."""
    array = _objects(list(values)) if datatype == BYTES else np.array(values, DTYPES[datatype])
    return Tensor(name, datatype, array.reshape(tuple(shape)))


def _elements(raw: bytes) -> list[bytes]:
    elements, at = [], 0
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        elements.append(raw[at : at + length])
        at += length
    return elements


def _objects(elements: Sequence[bytes]) -> Array:
    array: Array = np.empty(len(elements), object)
    array[:] = elements
    return array


def plain(array: Array) -> Any:
    """An array as JSON values: BYTES as text, what is no UTF-8 escaped; null for numbers that JSON does not have."""
    return _plain(array.tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if isinstance(value, float) and not math.isfinite(value) else value
