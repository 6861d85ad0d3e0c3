"""What only happens on a terminal, and in the program as it is installed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from inferno.health.v1 import health_service_pb2 as health
from tests.integration.inferno_cli.conftest import FakeMesh

INFERNO = str(Path(sys.executable).with_name("inferno"))


def _on_a_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run ``inferno`` with a terminal as its standard output; give its exit code and what it wrote there."""
    ours, its = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM"}}
    done = subprocess.Popen([INFERNO, *arguments], stdout=its, env={**env, "TERM": "xterm", **environment})
    os.close(its)
    written = b""
    while chunk := _read(ours):
        written += chunk
    os.close(ours)
    return done.wait(), written.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""  # Linux says EIO when the other side of a terminal is closed.


@pytest.mark.parametrize("arguments", [("status",), ("check", "python", "mesh")])
def test_colours_are_shown_unless_somebody_wants_none(fake: FakeMesh, arguments: tuple[str, ...]) -> None:
    model = health.ModelHealth(model="m", status=health.SERVING_STATUS_SERVING)
    fake.report = health.HealthReport(status=health.SERVING_STATUS_SERVING, models=[model])
    asked = (*arguments, "--endpoint", fake.endpoint)
    _, coloured = _on_a_terminal(*asked)
    assert "\x1b[32m" in coloured
    _, plain = _on_a_terminal(*asked, NO_COLOR="1")
    assert "\x1b[" not in plain


def test_the_installed_program_ends_with_its_exit_code() -> None:
    code, written = _on_a_terminal("--version")
    assert (code, written.startswith("inferno ")) == (0, True)
    code, _ = _on_a_terminal("status", "--endpoint", "127.0.0.1:1")
    assert code == 4


def test_up_refuses_with_its_exit_code_before_anything_starts(tmp_path: Path) -> None:
    arguments = ["up", "--port", "0", "--data-dir", str(tmp_path / "d"), "--model-repository", "/no/such/place"]
    done = subprocess.run([INFERNO, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error[NO_REPOSITORY] The model repository /no/such/place is not a folder.")
    assert not (tmp_path / "d").exists()


def test_output_that_cannot_be_written_is_one_sentence(fake: FakeMesh) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [INFERNO, "status", "--endpoint", fake.endpoint],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        1,
        "error[OUTPUT_FAILED] Standard output cannot be written: No space left on device.",
    )


def test_a_reader_that_has_enough_is_no_error(fake: FakeMesh) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [INFERNO, "status", "--endpoint", fake.endpoint],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")
