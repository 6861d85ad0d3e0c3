"""Requests made of a model's metadata, and read from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from inferno_backend.benchmark.requests import from_file, generated
from inferno_runtime.errors import InvalidInput, Unsupported


def metadata(*inputs: tuple[str, str, list[int]]) -> Any:
    made = service_pb2.ModelMetadataResponse(name="m")
    for name, datatype, shape in inputs:
        made.inputs.add(name=name, datatype=datatype, shape=shape)
    return made


def config(most: int = 0, *optional: str) -> Any:
    made = model_config_pb2.ModelConfig(name="m", max_batch_size=most)
    for name in optional:
        made.input.add(name=name, optional=True)
    return made


def test_made_requests_fill_every_input_with_values_in_bounds() -> None:
    about = metadata(("a", "FP32", [-1, 3]), ("b", "INT64", [-1, 2]), ("c", "BYTES", [-1, 1]), ("d", "BF16", [-1, 1]))
    request = service_pb2.ModelInferRequest.FromString(generated(about, config(8), 4))
    assert [list(each.shape) for each in request.inputs] == [[4, 3], [4, 2], [4, 1], [4, 1]]
    assert [len(raw) for raw in request.raw_input_contents] == [4 * 3 * 4, 4 * 2 * 8, 4 * (4 + 208), 4 * 2]
    assert set(request.raw_input_contents[1]) <= {0, 1}
    assert generated(about, config(8), 4) == generated(about, config(8), 4)


def test_a_dimension_of_any_size_gets_one_and_optional_inputs_are_left_out() -> None:
    about = metadata(("a", "UINT8", [-1]), ("b", "BOOL", [2]))
    request = service_pb2.ModelInferRequest.FromString(generated(about, config(0, "b"), 1))
    assert [(each.name, list(each.shape)) for each in request.inputs] == [("a", [8])]
    request = service_pb2.ModelInferRequest.FromString(generated(about, config(0, "a", "b"), 1))
    assert [each.name for each in request.inputs] == ["a", "b"]


def test_a_type_without_values_is_refused() -> None:
    with pytest.raises(Unsupported, match="COMPLEX64"):
        generated(metadata(("a", "COMPLEX64", [1])), config(), 1)


def test_a_file_holds_a_request_in_the_protocols_json(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    inputs = [
        {"name": "a", "shape": [2, 2], "data": [[1, 2], [3, 4]]},
        {"name": "c", "datatype": "BYTES", "shape": [2, 1], "data": ["x", "yz"]},
    ]
    path.write_text(json.dumps({"inputs": inputs}))
    made, batch = from_file(path, metadata(("a", "FP32", [-1, 2]), ("c", "BYTES", [-1, 1])), config(8))
    request = service_pb2.ModelInferRequest.FromString(made)
    assert (batch, request.model_name) == (2, "m")
    assert request.raw_input_contents[1] == b"\x01\0\0\0x\x02\0\0\0yz"
    assert len(request.raw_input_contents[0]) == 16
    assert from_file(path, metadata(("a", "FP32", [-1, 2]), ("c", "BYTES", [-1, 1])), config())[1] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "holds no inputs"),
        ('{"inputs": [{"name": "z"}]}', "has an input 'z', and m takes a"),
        ('{"inputs": ["a"]}', "has an input ''"),
        ('{"inputs": [{"name": "a", "shape": [3], "data": [1, 2]}]}', r"has 2 values of 'a' for the shape \[3\]"),
        ('{"inputs": [{"name": "a", "data": ["x"]}]}', "has values of 'a' that are no FP32"),
        ('{"inputs": [{"name": "a", "datatype": "Q", "data": [1]}]}', "has values of 'a' that are no Q"),
    ],
)
def test_a_file_that_is_no_request_is_refused_with_its_name(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=rf"request\.json {says}"):
        from_file(path, metadata(("a", "FP32", [-1])), config())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.json cannot be read"):
        from_file(tmp_path / "none.json", metadata(), config())
