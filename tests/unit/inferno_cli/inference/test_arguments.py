from __future__ import annotations

import io
from pathlib import Path

import pytest

from inferno_cli.inference import arguments
from inferno_cli.inference.arguments import Source
from inferno_runtime.errors import InvalidInput, NotFound


@pytest.fixture
def _stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1}')))


def test_values_are_json_or_words_or_files(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\x00")
    given = arguments.read([], ["a=5", "b=hello", "c=[1,2]", f"d=@{tmp_path}/f", "e="], None)
    assert given.values == {"a": 5, "b": "hello", "c": [1, 2], "d": Source(f"{tmp_path}/f", b"\x00"), "e": ""}
    assert given.body is None


@pytest.mark.usefixtures("_stdin")
def test_a_dash_is_standard_input() -> None:
    assert arguments.read(["-"], [], None).sources == [Source("standard input", b'{"a": 1}')]


@pytest.mark.usefixtures("_stdin")
@pytest.mark.parametrize("where", ["-", "@-"])
def test_the_body_may_come_from_standard_input(where: str) -> None:
    assert arguments.read([], [], where).body == {"a": 1}


def test_the_body_may_come_from_a_file_or_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"a": 2}')
    assert arguments.read([], [], f"@{tmp_path}/b.json").body == {"a": 2}
    assert arguments.read([], [], '{"a": 3}').body == {"a": 3}


@pytest.mark.parametrize("text", ["novalue", "=5"])
def test_an_input_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="names no input"):
        arguments.read([], [text], None)


@pytest.mark.parametrize(("body", "what"), [("{", "is not JSON"), ("[1]", "is not an object")])
def test_a_body_that_is_no_object_is_refused(body: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        arguments.read([], [], body)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none cannot be read: No such file"):
        arguments.read([str(tmp_path / "none")], [], None)
