"""SIGHUP, with and without a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from inferno_runtime import hangup, lifecycle
from inferno_runtime.lifecycle import Stop

# Opening a terminal makes it that of a session's leader.
_PROGRAM = """
import os, signal, sys
os.open(sys.argv[1], os.O_RDWR)
if sys.argv[2] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
from inferno_runtime import hangup, lifecycle

async def main(stop):
    hangups = hangup.count(stop)
    os.kill(os.getpid(), signal.SIGHUP)
    await hangups.wait_for(bool)
    print("counted", stop.requested, flush=True)
    if sys.argv[2] == "nohup":
        await hangups.wait_for(lambda count: count > 1)
    else:
        await stop.wait()
    print(stop.reason, flush=True)

sys.exit(lifecycle.run(main))
"""


def test_hangups_are_counted() -> None:
    async def main(stop: Stop) -> None:
        hangups = hangup.count(stop)
        for number in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            assert await hangups.wait_for(lambda count, number=number: count == number)  # type: ignore[misc]
        assert not stop.requested

    assert lifecycle.run(main) == 0


@pytest.mark.parametrize(("how", "reason"), [("plain", "the terminal is gone"), ("nohup", "")])
def test_a_terminal_that_goes_takes_its_process_along_unless_that_was_told_to_stay(how: str, reason: str) -> None:
    ours, its = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, os.ttyname(its), how],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    os.close(its)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "counted False\n"
        os.close(ours)
        assert program.stdout.readline() == f"{reason}\n"
        assert program.wait(10) == 0
    finally:
        program.kill()
        program.communicate()
