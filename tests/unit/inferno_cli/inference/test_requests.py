from __future__ import annotations

import io
import json

import numpy as np
import pytest

from inferno_cli.inference.arguments import Given, Source
from inferno_cli.inference.model import ModelSpec, TensorSpec
from inferno_cli.inference.requests import Request, requests
from inferno_cli.inference.tensors import Array
from inferno_runtime.errors import InvalidInput

FILETYPE = ModelSpec("filetype", (TensorSpec("content", "BYTES", (-1, 1)),), (), max_batch_size=2)
PAIR = (TensorSpec("left", "INT32", (2,)), TensorSpec("right", "INT32", (2,)))
ADD = ModelSpec("add", (*PAIR, TensorSpec("scale", "FP32", (1,), optional=True)), ())
WORDS = ModelSpec("words", (TensorSpec("texts", "BYTES", (-1,)),), ())
ROWS = ModelSpec(
    "rows", (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("k", "INT64", (-1, 1), True)), (), max_batch_size=8
)
FLAG = ModelSpec("flag", (TensorSpec("on", "BOOL", (1,)),), ())
HALF = ModelSpec("half", (TensorSpec("h", "BF16", (-1,)),), ())


def _npy(array: Array) -> Source:
    file = io.BytesIO()
    np.save(file, array)
    return Source("a.npy", file.getvalue())


def _lists(request: Request) -> dict[str, object]:
    return {each.name: each.array.tolist() for each in request.tensors}


def _one(given: Given, model: ModelSpec) -> dict[str, object]:
    (request,) = requests(given, model)
    return _lists(request)


def _refused(given: Given, model: ModelSpec) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        requests(given, model)
    return caught.value


def test_files_become_batches_no_larger_than_the_model_takes() -> None:
    given = Given([Source(name, name.encode()) for name in ("a", "b", "c")])
    first, second = requests(given, FILETYPE)
    assert _lists(first) == {"content": [[b"a"], [b"b"]]}
    assert _lists(second) == {"content": [[b"c"]]}
    assert (first.items, second.items) == (("a", "b"), ("c",))


def test_files_of_a_model_without_batches_fill_its_open_dimension() -> None:
    assert _one(Given([Source("a", b"1"), Source("b", b"2")]), WORDS) == {"texts": [b"1", b"2"]}


def test_files_that_cannot_be_packed_are_requests_of_their_own() -> None:
    given = Given([Source("a", b"[1,2]"), Source("b", b"[3,4]")], {"right": [0, 0]})
    assert [_lists(each)["left"] for each in requests(given, ADD)] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "source", [Source("j", b"[[1, 2, 3]]"), Source("r", b"[1, 2, 3]"), _npy(np.array([[1, 2, 3]]))]
)
def test_numbers_come_from_json_and_from_npy_with_or_without_the_batch_dimension(source: Source) -> None:
    assert _one(Given([source]), ROWS) == {"x": [[1, 2, 3]]}


def test_what_is_given_once_is_repeated_over_the_batch() -> None:
    given = Given([], {"x": [[1, 2, 3], [4, 5, 6]], "k": 7})
    assert _one(given, ROWS) == {"x": [[1, 2, 3], [4, 5, 6]], "k": [[7], [7]]}


def test_a_single_value_fills_an_input_of_one_element() -> None:
    assert _one(Given([], {"left": [1, 2], "right": [3, 4], "scale": 2}), ADD)["scale"] == [2.0]
    assert _one(Given([], {"on": True}), FLAG) == {"on": [True]}


def test_a_json_body_names_values_or_is_a_rest_body() -> None:
    simple = {"left": [1, 2], "right": [3, 4]}
    rest = {"inputs": [{"name": n, "datatype": "INT32", "shape": [2], "data": v} for n, v in simple.items()]}
    assert _one(Given(body=simple), ADD) == _one(Given(body=rest), ADD) == simple


def test_rest_data_may_be_flat() -> None:
    body = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]}
    assert _one(Given(body=body), ROWS) == {"x": [[1, 2, 3], [4, 5, 6]]}


def test_flags_win_over_the_body_and_files_join_them() -> None:
    given = Given([Source("f", b"[9,9]")], {"right": [5, 6]}, {"right": [1, 1]})
    assert _one(given, ADD) == {"right": [5, 6], "left": [9, 9]}


def test_texts_are_words_numbers_meant_as_text_files_and_arrays() -> None:
    assert _one(Given([], {"texts": ["a", "ö"]}), WORDS) == {"texts": [b"a", "ö".encode()]}
    assert _one(Given([], {"texts": 5}), WORDS) == {"texts": [b"5"]}
    assert _one(Given([], {"texts": Source("f", b"\x00raw")}), WORDS) == {"texts": [b"\x00raw"]}
    assert _one(Given([_npy(np.array(["x", "y"]))]), WORDS) == {"texts": [b"x", b"y"]}
    assert _one(Given([], {"texts": []}), WORDS) == {"texts": []}
    assert _one(Given([], {"h": [1, 2.5]}), HALF) == {"h": [1.0, 2.5]}


def test_an_empty_array_has_no_wrong_type() -> None:
    model = ModelSpec("m", (TensorSpec("n", "INT32", (-1,)),), ())
    assert _one(Given([], {"n": []}), model) == {"n": []}


def test_a_model_without_inputs_needs_none() -> None:
    assert _one(Given(), ModelSpec("m", (), (), max_batch_size=4)) == {}


@pytest.mark.parametrize(
    ("value", "what", "reason"),
    [
        ([1.5, 2], "has fractions", "BAD_TYPE"),
        (["1", "2"], "has text", "BAD_TYPE"),
        ([True, False], "has true or false", "BAD_TYPE"),
        ([None, 1], "has mixed values", "BAD_TYPE"),
        ([[1, 2], [3]], "has rows of different length", "BAD_SHAPE"),
        ([1, 2, 3], r"has the shape \[3\]", "BAD_SHAPE"),
        (7, r"has the shape \[\]", "BAD_SHAPE"),
        ([1, 2**31], "has values outside -2147483648 to 2147483647", "OUT_OF_RANGE"),
        (b"raw", "got the raw content of a file", "BAD_TYPE"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_what_the_model_expects(value: object, what: str, reason: str) -> None:
    error = _refused(Given([], {"left": value, "right": [1, 1]}), ADD)
    assert error.reason == reason
    assert error.message.startswith("Input 'left' ")
    assert __import__("re").search(what, error.message), error.message
    assert "the model expects left: INT32[2]" in error.message


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (["a", ["b"]], "rows of different length"),
        ([True], "has True, which is no text"),
        ([None], "has None, which is no text"),
    ],
)
def test_texts_that_are_none_are_refused(value: object, what: str) -> None:
    assert what in _refused(Given([], {"texts": value}), WORDS).message


def test_a_wrong_name_is_answered_with_the_nearest_one() -> None:
    error = _refused(Given([], {"lefft": [1, 2]}), ADD)
    assert (error.message, error.reason) == ("add has no input 'lefft'.", "UNKNOWN_INPUT")
    assert error.fix.startswith("Did you mean 'left'? add takes left: INT32[2]")
    assert "scale: FP32[1] (optional)" in error.fix
    assert _refused(Given([], {"zzz": 1}), ADD).fix.startswith("add takes")


def test_a_missing_input_is_named() -> None:
    error = _refused(Given([], {"left": [1, 2]}), ADD)
    assert error.message == "add needs right."


def test_files_for_nobody_in_particular_are_refused() -> None:
    error = _refused(Given([Source("f", b"[1,2]")]), ADD)
    assert error.reason == "AMBIGUOUS_INPUT"
    assert "--input NAME=@FILE" in error.fix


def test_files_go_to_the_only_optional_input_when_nothing_else_is_left() -> None:
    given = Given([Source("f", b"3")], {"left": [1, 2], "right": [3, 4]})
    assert _one(given, ADD)["scale"] == [3.0]


def test_files_go_to_the_input_of_bytes_among_several() -> None:
    model = ModelSpec("m", (TensorSpec("n", "INT32", (1,)), TensorSpec("t", "BYTES", (1,))), ())
    error = _refused(Given([Source("f", b"x")]), model)
    assert error.message == "m needs n."


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"x": [[1, 2, 3]] * 2, "k": [[1]] * 3}, "input 'x' has 2 items and another has 3"),
        ({"x": [[1, 2, 3]] * 9}, "9 items; rows takes up to 8"),
    ],
)
def test_batches_that_do_not_fit_are_refused(values: dict[str, object], what: str) -> None:
    assert what in _refused(Given([], values), ROWS).message


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"shape": [2]}, "has no name"),
        ("text", "has no name"),
        ({"name": "left", "datatype": "FP32", "shape": [2], "data": [1, 2]}, "is said to be FP32"),
        ({"name": "left", "datatype": "INT32", "shape": [3], "data": [1, 2]}, "has 2 values for the shape"),
    ],
)
def test_a_rest_body_that_does_not_fit_is_refused(entry: object, what: str) -> None:
    assert what in _refused(Given(body={"inputs": [entry]}), ADD).message


def test_an_input_called_inputs_is_an_input() -> None:
    model = ModelSpec("m", (TensorSpec("inputs", "INT32", (-1,)),), ())
    assert _one(Given(body=json.loads('{"inputs": [1, 2]}')), model) == {"inputs": [1, 2]}


@pytest.mark.parametrize("content", [b"\x93NUMPY broken", b"neither"])
def test_a_file_that_holds_no_numbers_is_refused(content: bytes) -> None:
    error = _refused(Given([Source("file.bin", content)], {"right": [1, 1]}), ADD)
    assert error.reason == "BAD_FILE"
    assert error.message.startswith("file.bin ")
