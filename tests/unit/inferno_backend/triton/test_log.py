"""Triton's log lines, at their own level."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from inferno_backend.triton.follow import LogFollower
from inferno_backend.triton.log import Line, first_line, parse


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'I1123 02:38:43.703201 9985 model_lifecycle.cc:472] "loading: identity:1"',
            Line("debug", "model_lifecycle.cc:472", "loading: identity:1"),
        ),
        ('W1123 02:38:43.703201 9985 a.cc:1] "careful"', Line("warning", "a.cc:1", "careful")),
        (
            'E1123 02:38:43.725730 9985 a.cc:642] "failed: no weights\\n\\nAt:\\n  model.py(1)"',
            Line("error", "a.cc:642", "failed: no weights\n\nAt:\n  model.py(1)"),
        ),
        ("E1123 02:38:43.725730 9985 a.cc:642] plain words", Line("error", "a.cc:642", "plain words")),
        ('E1123 02:38:43.725730 9985 a.cc:642] "unfinished', Line("error", "a.cc:642", '"unfinished')),
        (
            "[libprotobuf ERROR /tmp/text_format.cc:337] Error parsing text-format: 1:35: Expected integer",
            Line("error", "protobuf", "Error parsing text-format: 1:35: Expected integer"),
        ),
        ("[libprotobuf WARNING /tmp/x.cc:1] odd", Line("warning", "protobuf", "odd")),
        ("failed to start", Line("error", "", "failed to start")),
        ("terminate called after throwing", Line("error", "", "terminate called after throwing")),
        ("  what():  no such host", Line("error", "", "no such host")),
        ("+------+", Line("debug", "", "+------+")),
    ],
)
def test_a_line_is_understood(line: str, expected: Line) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        'W1123 02:38:45.027476 9985 metrics.cc:798] "DCGM unable to start: DCGM initialization error"',
        "Error: Failed to initialize NVML",
        'E1123 02:38:43.702013 9985 server.cc:241] "CudaDriverHelper has not been initialized."',
        'W1123 02:38:43.7 9985 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory, pinned ..."',
    ],
)
def test_what_every_machine_without_a_gpu_says_is_no_error_there_and_explained(line: str) -> None:
    assert parse(line).level == "debug"
    assert parse(line).harmless
    with_gpu = parse(line, gpu=True)
    assert with_gpu.level in ("warning", "error")
    assert not with_gpu.harmless


def test_what_is_harmless_is_told_with_the_reason_to_those_who_look(tmp_path: Path) -> None:
    file = tmp_path / "triton.log"
    file.write_text('E1123 02:38:43.7 9985 tritonserver.cc:2607] "Internal: failed to load all models"\n')
    follower = LogFollower(file)
    with capture_logs() as told:
        follower.read()
    assert [(line["log_level"], line["harmless"]) for line in told] == [
        ("debug", "Each failed model has been told by name.")
    ]
    assert not follower.errors


def test_a_traceback_stays_with_its_message_however_the_backend_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "triton.log"
    file.write_text(
        "E1123 02:38:43.7 9985 pb_stub.cc:298]  Failed to initialize Python stub: RuntimeError: no weights\n"
        "\nAt:\n  /models/m/1/model.py(3): initialize\n\n"
        'E1123 02:38:43.8 9985 a.cc:642] "failed: no weights\\n\\nAt:\\n  model.py(1)"\n'
        "+---+\n"
    )
    follower = LogFollower(file)
    with capture_logs() as told:
        follower.read()
    assert [(line["event"], line.get("traceback", "")) for line in told] == [
        (
            "Failed to initialize Python stub: RuntimeError: no weights",
            "At:\n  /models/m/1/model.py(3): initialize",
        ),
        ("failed: no weights", "At:\n  model.py(1)"),
        ("+---+", ""),
    ]
    assert follower.errors[0] == "Failed to initialize Python stub: RuntimeError: no weights"


def test_a_message_is_told_without_its_traceback() -> None:
    assert first_line("RuntimeError: no weights \n\nAt:\n  model.py(1)") == "RuntimeError: no weights"


def test_what_is_added_to_the_file_is_repeated_once_and_in_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "triton.log"
    follower = LogFollower(file)
    with capture_logs() as told:
        follower.read()
        with file.open("a") as writing:
            writing.write("failed one\n\n+---+\nW1123 02:38:43.7 9985 a.cc:1] careful\nfailed t")
            writing.flush()
            follower.read()
            writing.write("wo\n")
        follower.read()
        follower.read()
    assert [(line["log_level"], line["event"]) for line in told] == [
        ("error", "failed one"),
        ("debug", "+---+"),
        ("warning", "careful"),
        ("error", "failed two"),
    ]
    assert follower.errors == ["failed one", "failed two"]


def test_models_that_are_being_loaded_are_known_from_the_log(tmp_path: Path) -> None:
    file = tmp_path / "triton.log"
    said = 'I1123 02:38:43.7 9985 model_lifecycle.cc:1] "{}"\n'
    follower = LogFollower(file)
    file.write_text("".join(said.format(f"loading: {name}:1") for name in ("a", "b", "c:d")))
    follower.read()
    assert follower.loading == {"a", "b", "c:d"}
    with file.open("a") as writing:
        writing.write(said.format("successfully loaded 'a'") + said.format("failed to load 'c:d' version 1: X\\n y"))
    follower.read()
    assert follower.loading == {"b"}


def test_a_long_file_is_emptied_once_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "triton.log"
    file.write_text("failed before\n")
    follower = LogFollower(file, from_end=True, max_bytes=20)
    with file.open("a") as writing:
        writing.write("failed after\n")
        writing.flush()
        follower.read()
        assert file.stat().st_size == 0
        writing.write("failed again\n")
    follower.read()
    assert follower.errors == ["failed after", "failed again"]
