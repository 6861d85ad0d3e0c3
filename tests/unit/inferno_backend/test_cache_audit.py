"""Which models' answers may be kept, judged from their interface and from samples."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_backend.cache_audit import Interface, Tensor, difference, objection, samples
from inferno_backend.node import Model

X = Tensor("x", "FP32", (-1,))
WIDTHS = {"FP16": 2, "FP32": 4, "FP64": 8, "INT8": 1, "INT64": 8, "UINT16": 2, "BOOL": 1}


def takes(*inputs: Tensor, outputs: tuple[str, ...] = ("y",)) -> Interface:
    return Interface(inputs, outputs)


@pytest.mark.parametrize(
    ("model", "interface", "why"),
    [
        (Model("m"), takes(X), ""),
        (Model("m", max_batch_size=8), takes(Tensor("x", "BYTES", (-1, 3)), Tensor("k", "INT64", (1,))), ""),
        (Model("m", stateful=True), takes(X), "stateful"),
        (Model("m", decoupled=True), takes(X), "decoupled"),
        (Model("m"), takes(X, outputs=("y", "z")), "2 outputs"),
        (Model("m"), takes(X, outputs=()), "0 outputs"),
        (Model("m"), takes(X, Tensor("image", "UINT8", (-1, -1, 3))), "'image' has more than one open dimension"),
        (Model("m"), takes(Tensor("x", "BF16", (4,))), "type BF16"),
        (Model("m"), takes(Tensor("x", "FP32", (1000, 1001))), "too large"),
    ],
)
def test_only_a_model_whose_requests_are_told_apart_is_cached(model: Model, interface: Interface, why: str) -> None:
    found = objection(model, interface)
    assert why in found
    assert bool(found) == bool(why)


@given(st.sampled_from(sorted(WIDTHS)), st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=3), st.integers(0, 3))
def test_a_sample_has_as_many_bytes_as_its_shape_says(datatype: str, shape: list[int], batch: int) -> None:
    interface = takes(Tensor("x", datatype, tuple(shape)))
    for (filled,) in samples(Model("m", max_batch_size=batch), interface):
        elements = 1
        for size in filled.shape:
            assert size > 0
            elements *= size
        assert len(filled.data) == elements * WIDTHS[datatype]


def test_texts_carry_their_lengths() -> None:
    (*_, (filled,)) = samples(Model("m"), takes(Tensor("x", "BYTES", (-1,))))
    rest, count = filled.data, 0
    while rest:
        (length,) = struct.unpack_from("<I", rest)
        rest, count = rest[4 + length :], count + 1
    assert filled.shape == (count,)


def test_samples_are_the_same_each_time_and_differ_from_one_another() -> None:
    made = samples(Model("m"), takes(X))
    assert made == samples(Model("m"), takes(X))
    assert len(set(made)) == len(made) > 1


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ((Tensor("y", "FP32", (1,), b"abcd"),), ""),
        ((Tensor("z", "FP32", (1,), b"abcd"),), "the outputs are not the same"),
        ((Tensor("y", "INT32", (1,), b"abcd"),), "output 'y' has another type or shape"),
        ((Tensor("y", "FP32", (1,), b"abXd"),), "output 'y' differs from byte 2 on"),
        ((Tensor("y", "FP32", (1,), b"ab"),), "output 'y' differs from byte 2 on"),
    ],
)
def test_answers_are_compared_to_the_last_bit(other: tuple[Tensor, ...], what: str) -> None:
    assert difference((Tensor("y", "FP32", (1,), b"abcd"),), other) == what
