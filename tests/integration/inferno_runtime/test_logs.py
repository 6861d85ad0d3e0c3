"""Logs whose reader or disk is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHILD = (
    "from inferno_runtime import logs\nlogs.configure('console')\n"
    "for _ in range(3):\n    logs.get('agent').info('registered')\nprint('serves')"
)


def _dead_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def _full_disk() -> int:
    return os.open(Path("/dev/full"), os.O_WRONLY)


@pytest.mark.parametrize("stderr", [_dead_pipe, _full_disk])
def test_a_process_goes_on_when_its_log_cannot_be_written(stderr: Callable[[], int]) -> None:
    descriptor = stderr()
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=descriptor, check=False, text=True
        )
    finally:
        os.close(descriptor)
    assert (done.returncode, done.stdout) == (0, "serves\n")
