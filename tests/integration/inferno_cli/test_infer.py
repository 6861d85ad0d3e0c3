from __future__ import annotations

import json
from pathlib import Path

import pytest

from inferno_runtime.errors import Exhausted
from tests.integration.inferno_cli.conftest import FakeMesh, Run


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("one.txt", "two.txt")]
    for path, content in zip(paths, ("a", "bb"), strict=True):
        path.write_text(content)
    return [str(path) for path in paths]


def test_a_file_is_answered_with_a_row(run: Run, files: list[str]) -> None:
    result = run("infer", "filetype", files[0])
    assert (result.exit_code, result.stderr) == (0, "")
    header, row = result.stdout.splitlines()
    assert header.split() == ["INPUT", "SIZE"]
    assert row.split() == [files[0], "1"]


def test_several_files_are_one_batch(run: Run, fake: FakeMesh, files: list[str]) -> None:
    result = run("infer", "filetype", *files)
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["SIZE", "1", "2"]
    assert [list(each.inputs[0].shape) for each in fake.seen if hasattr(each, "raw_input_contents")] == [[2, 1]]


def test_standard_input_is_a_file_too(run: Run) -> None:
    result = run("infer", "filetype", "-", "-o", "json", stdin=b"12345")
    answer = json.loads(result.stdout)
    assert answer["outputs"] == [{"name": "size", "datatype": "INT64", "shape": [1, 1], "data": [[5]]}]
    assert answer["items"] == ["standard input"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--input", "x=[1, 2.5]"],
        ["--json", '{"x": [1, 2.5]}'],
        ["--json", '{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5]}]}'],
        ["--input", "x=[1, 2.5]", "--model-version", "typed"],
    ],
)
def test_values_come_from_flags_and_json(run: Run, arguments: list[str]) -> None:
    result = run("infer", "double", *arguments, "-o", "json")
    assert json.loads(result.stdout)["outputs"][0]["data"] == [2.0, 5.0]


def test_a_decoupled_model_answers_as_often_as_it_wants(run: Run) -> None:
    assert run("infer", "repeat", "--input", "count=3").stdout.splitlines() == ["0", "1", "2"]
    lines = run("infer", "repeat", "--input", "count=3", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["outputs"][0]["data"] for line in lines] == [[0], [1], [2]]


def test_an_error_within_a_stream_ends_it_with_a_sentence(run: Run, fake: FakeMesh) -> None:
    fake.stream_error = "out of tokens"
    result = run("infer", "repeat", "--input", "count=3")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["0", "1"]
    assert result.stderr.startswith("error[MODEL_FAILED] repeat failed: out of tokens.")


@pytest.mark.parametrize(("text", "kind", "value"), [("7", "int64_param", 7), ("user-7", "string_param", "user-7")])
def test_a_sequence_is_named_begun_and_ended(run: Run, fake: FakeMesh, text: str, kind: str, value: object) -> None:
    run("infer", "double", "--input", "x=[1,2]", "--sequence-id", text, "--start", "--header", "X-Team=a")
    parameters = fake.seen[-1].parameters
    assert getattr(parameters["sequence_id"], kind) == value
    assert (parameters["sequence_start"].bool_param, parameters["sequence_end"].bool_param) == (True, False)
    assert ("x-team", "a") in fake.metadata


def test_a_header_without_a_value_is_wrong_usage(run: Run) -> None:
    result = run("infer", "double", "--header", "nothing")
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.stderr


@pytest.mark.parametrize("name", ["Authorization", "x-api-key"])
def test_a_secret_does_not_belong_on_the_command_line(run: Run, name: str) -> None:
    result = run("infer", "double", "--header", f"{name}=inf_secret")
    assert (result.exit_code, "--key-file" in result.stderr, "inf_secret" in result.output) == (2, True, False)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nothing"], 1, "error[UNKNOWN_MODEL] There is no model 'nothing'.\n  fix: Models: double, filetype, repeat."),
        (["double", "--input", "y=[1,2]"], 2, "error[UNKNOWN_INPUT] double has no input 'y'."),
        (["double", "--input", "x=[1,2,3]"], 2, "the model expects x: FP32[2]"),
        (["double", "--input", 'x=["a","b"]'], 2, "Input 'x' has text; the model expects x: FP32[2]"),
        (["double"], 2, "error[MISSING_INPUT] double needs x."),
        (["filetype", "/no/such/file"], 1, "error[NO_FILE] /no/such/file cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_the_right_exit_code(
    run: Run, arguments: list[str], code: int, sentence: str
) -> None:
    result = run("infer", *arguments)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stdout == ""


def test_nothing_is_sent_to_a_model_that_would_refuse_it(run: Run, fake: FakeMesh) -> None:
    run("infer", "double", "--input", "x=[1,2,3]")
    assert not [each for each in fake.seen if hasattr(each, "raw_input_contents")]


def test_a_limit_is_told_with_its_exit_code(run: Run, fake: FakeMesh) -> None:
    fake.error = Exhausted("Too many requests.", reason="RATE", fix="Wait a second.", retry_after=1)
    result = run("infer", "double", "--input", "x=[1,2]")
    assert (result.exit_code, result.stderr) == (4, "error[RATE] Too many requests.\n  fix: Wait a second.\n")


def test_a_mesh_that_is_away_is_told_with_its_address(run: Run) -> None:
    result = run("infer", "double", "--endpoint", "127.0.0.1:1")
    assert result.exit_code == 4
    assert "The mesh at 127.0.0.1:1 cannot be reached (Connection refused)." in result.stderr
    assert "inferno up" in result.stderr
