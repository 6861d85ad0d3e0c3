"""What the command answers to a start that cannot work: one sentence, and the exit code of its kind."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Repository = Callable[..., Path]


@pytest.fixture(scope="module")
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("--model-repository {0}/nowhere", 2, "The model repository {0}/nowhere does not exist."),
        ("--model-repository {0}/empty", 2, "The model repository {0}/empty holds no model."),
        ("--model-repository {0}/broken", 2, "No model of {0}/broken can be loaded: bad/config.pbtxt:1:1"),
        ("--model-repository {0}/models --model nothing", 1, "no model 'nothing' in {0}/models; there is whoami."),
        ("--model-repository {0}/models --triton-binary {0}/models", 1, "{0}/models is not a program"),
        ("--model-repository {0}/models --http-port {1}", 4, "127.0.0.1:{1} is used by pid"),
        ("--model-repository {0}/models --metrics-port {1}", 4, "127.0.0.1:{1} is used by pid"),
        ("--model-repository {0}/models --triton-url 127.0.0.1:1", 2, "exclude one another"),
    ],
)
async def test_a_start_that_cannot_work_is_refused(
    tmp_path: Path, repository: Repository, taken: int, arguments: str, code: int, sentence: str
) -> None:
    repository("whoami")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "bad").mkdir(parents=True)
    (tmp_path / "broken" / "bad" / "config.pbtxt").write_text("nonsense: 1\n")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("inferno-backend")),
        *("--data-dir", str(tmp_path / "node"), *arguments.format(tmp_path, taken).split()),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    text = " ".join(said.decode().split())
    assert sentence.format(tmp_path, taken) in text
    assert process.returncode == code, text
    assert "Traceback" not in text
