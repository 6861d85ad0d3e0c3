"""SIGHUP: the wish that settings are read again, unless it says that the terminal is gone."""

from __future__ import annotations

import asyncio
import os
import signal

from inferno_runtime.latest import Latest
from inferno_runtime.lifecycle import Stop


def count(stop: Stop) -> Latest[int]:
    """Count the hangups from now on, for as long as the event loop runs.

    A process that was started in a terminal ends with it, as without this; started with ``nohup`` it stays.
    """
    hangups = Latest(0)
    follows = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    def received() -> None:
        if follows and not _has_terminal():
            stop.request("the terminal is gone")
        else:
            hangups.set(hangups.value + 1)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, received)
    return hangups


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
