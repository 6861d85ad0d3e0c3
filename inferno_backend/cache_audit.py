"""Whether a model's answers may be kept: what its interface must be like, and do equal requests have equal answers?

Triton 2.51 finds a kept answer by the model's name and version and the names and bytes of the input tensors, and by
nothing else (measured, docs/decisions/0045). So a request with other shapes around the same bytes, or one that asks for
other outputs, would get a wrong answer: only models for which neither can happen are let in.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferno_backend.node import Model

# Different requests that are tried, each executed twice.
_SAMPLES = 4
# Elements of one input: an audit must not take long, nor much memory.
_MOST_ELEMENTS = 1_000_000
_OPEN = -1
# Triton's names of types, as struct packs them.
_FLOATS: Mapping[str, str] = {"FP16": "e", "FP32": "f", "FP64": "d"}
_INTEGERS: Mapping[str, str] = {
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "BOOL": "?",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor, or with no ``data`` the place of one: -1 in ``shape`` is then a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Interface:
    """What a model takes and gives, as its server says."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]


def objection(model: Model, interface: Interface) -> str:
    """Why answers of such a model cannot be kept, as a sentence; empty when they can."""
    if model.stateful:
        return "It is stateful: an answer depends on the calls before."
    if model.decoupled:
        return "It is decoupled: a call may have many answers, and Triton keeps one."
    if len(interface.outputs) != 1:
        return f"It has {len(interface.outputs)} outputs, and Triton does not tell apart which of them a call asks for."
    for each in interface.inputs:
        if each.shape.count(_OPEN) > 1:
            return f"Input {each.name!r} has more than one open dimension, and Triton does not tell shapes apart."
        if each.datatype not in {*_FLOATS, *_INTEGERS, "BYTES"}:
            return f"Input {each.name!r} is of type {each.datatype}, for which no samples can be made."
        if _elements(each.shape, _SAMPLES) > _MOST_ELEMENTS:
            return f"Input {each.name!r} is too large for samples."
    return ""


def samples(model: Model, interface: Interface) -> tuple[tuple[Tensor, ...], ...]:
    """Requests to try: the same ones each time. Numbers are small, so that indices into tables stay in bounds."""
    return tuple(
        tuple(_filled(each, min(number, model.max_batch_size or number), number) for each in interface.inputs)
        for number in range(1, _SAMPLES + 1)
    )


def difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> str:
    """What differs between two answers, as the end of a sentence; empty when nothing does, to the last bit."""
    if [each.name for each in one] != [each.name for each in other]:
        return "the outputs are not the same"
    for first, second in zip(one, other, strict=True):
        if (first.datatype, first.shape) != (second.datatype, second.shape):
            return f"output {first.name!r} has another type or shape"
        if first.data != second.data:
            shorter = min(len(first.data), len(second.data))
            at = next((n for n in range(shorter) if first.data[n] != second.data[n]), shorter)
            return f"output {first.name!r} differs from byte {at} on"
    return ""


def _elements(shape: tuple[int, ...], size: int) -> int:
    return math.prod(size if dimension == _OPEN else dimension for dimension in shape)


def _filled(place: Tensor, size: int, seed: int) -> Tensor:
    shape = tuple(size if dimension == _OPEN else dimension for dimension in place.shape)
    count, choice = _elements(shape, size), random.Random(f"{seed} {place.name}")  # noqa: S311 - samples, no secrets
    if code := _FLOATS.get(place.datatype):
        data = struct.pack(f"<{count}{code}", *(choice.uniform(-1, 1) for _ in range(count)))
    elif code := _INTEGERS.get(place.datatype):
        data = struct.pack(f"<{count}{code}", *choice.choices((0, 1), k=count))
    else:
        words = choice.choices((b"", b"a", b"inferno", b"1"), k=count)
        data = b"".join(struct.pack("<I", len(word)) + word for word in words)
    return Tensor(place.name, place.datatype, shape, data)
