from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tritonclient.utils import serialize_byte_tensor

from inferno_cli.inference import tensors
from inferno_cli.inference.tensors import Array, Tensor

NUMERIC = sorted(set(tensors.DTYPES) - {"BYTES", "BF16"})


@given(st.data(), st.sampled_from(NUMERIC))
def test_numbers_survive_the_wire(data: st.DataObject, datatype: str) -> None:
    shape = data.draw(npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    array = data.draw(npst.arrays(tensors.DTYPES[datatype], shape))
    sent = Tensor("t", datatype, array)
    got = tensors.decode("t", datatype, sent.shape, tensors.encode(sent))
    assert got.shape == sent.shape
    np.testing.assert_array_equal(got.array, array)


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_bytes_survive_the_wire_and_read_as_tritonclients(elements: list[bytes]) -> None:
    array: Array = np.empty(len(elements), object)
    array[:] = elements
    raw = tensors.encode(Tensor("t", "BYTES", array))
    assert tensors.decode("t", "BYTES", [len(elements)], raw).array.tolist() == elements
    if elements:
        assert raw == serialize_byte_tensor(array).item()


def test_bf16_is_the_upper_half_of_a_float32() -> None:
    array = np.array([1.0, -2.5, 3.140625, 1e30], np.float32)
    raw = tensors.encode(Tensor("t", "BF16", array))
    assert raw[:4] == bytes.fromhex("803f20c0")  # 1.0 and -2.5, little-endian
    np.testing.assert_allclose(tensors.decode("t", "BF16", [4], raw).array, array, rtol=0.01)


def test_typed_contents_are_the_other_way_to_carry_values() -> None:
    assert tensors.from_list("t", "INT8", [2, 1], [1, -1]).array.tolist() == [[1], [-1]]
    assert tensors.from_list("t", "BYTES", [1, 2], [b"a", b"b"]).array.tolist() == [[b"a", b"b"]]


@pytest.mark.parametrize(
    ("array", "plain"),
    [
        (np.array([[b"a"], [b"\xff"]], object), [["a"], ["\\xff"]]),
        (np.array([1.5, np.nan, np.inf]), [1.5, None, None]),
        (np.array([True]), [True]),
        (np.array(7), 7),
    ],
)
def test_arrays_become_json_values(array: Array, plain: object) -> None:
    assert tensors.plain(array) == plain
