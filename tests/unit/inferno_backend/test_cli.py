"""The command line of a node: its own flags, and those of the commands below it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from inferno_backend.cli import command
from inferno_backend.settings import Given


@pytest.fixture(autouse=True)
def _logs_are_set_up_for_the_command_alone() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_without_a_command_below_it_it_runs_a_node_with_its_own_flags(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--model", "x", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "There is nothing to serve" in result.stderr


def test_flags_before_a_commands_name_count_for_it_and_its_own_come_on_top(tmp_path: Path) -> None:
    config = tmp_path / "inferno.yaml"
    config.write_text("backend:\n  start_timeout: 7\n  node_id: filed\n")
    given = Given(config, {"node_id": "above", "model": None, "region": "r"})
    settings = given.load(None, {"node_id": None, "data_dir": tmp_path})
    assert (settings.start_timeout, settings.node_id, settings.region) == (7, "above", "r")
    assert settings.data_dir == tmp_path
    other = tmp_path / "other.yaml"
    other.write_text("backend:\n  start_timeout: 8\n")
    assert given.load(other, {"node_id": "own"}).start_timeout == 8
    assert given.load(other, {"node_id": "own"}).node_id == "own"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model-repository", "/nowhere", "bench", "--no-hardware"), "The model repository /nowhere does not exist"),
        (("bench", "--no-hardware"), "There is no model to measure"),
        (("bench", "--batch", "1,x"), "--batch '1,x' is no list of batch sizes"),
        (("tune", "m", "--objective-p99", "5"), "There is no model to tune"),
        (("--model-repository", "/nowhere", "tune", "m", "--objective-p99", "5"), "/nowhere does not exist"),
        (("tune", "m"), "Missing option '--objective-p99'"),
        (("tune", "m", "--objective-p99", "5", "--sweep", "speed"), "--sweep knows no 'speed'"),
        (("bunch",), "No such command 'bunch'"),
    ],
)
def test_what_makes_no_sense_ends_with_a_sentence_and_exit_code_two(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    result = CliRunner().invoke(command, ["--data-dir", str(tmp_path), *arguments])
    said = result.stderr + str(result.exception or "")
    assert sentence in " ".join(said.split()), said
    assert result.exit_code != 0
