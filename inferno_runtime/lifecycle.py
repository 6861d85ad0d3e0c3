"""How a process runs and how it ends: one stop, asked for by a signal or by ourselves, and one exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from inferno_runtime.errors import InfernoError

INTERRUPTED = 130


class Stop:
    """The wish that this process ends. Asking twice is the same as asking once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._reason = ""

    @property
    def requested(self) -> bool:
        """True once somebody asked."""
        return self._event.is_set()

    @property
    def reason(self) -> str:
        """Why, in the words of whoever asked first."""
        return self._reason

    def request(self, reason: str) -> None:
        """Ask this process to end in order."""
        if not self._event.is_set():
            self._reason = reason
            self._event.set()

    async def wait(self) -> None:
        """Return once somebody has asked."""
        await self._event.wait()


def run(main: Callable[[Stop], Awaitable[None]]) -> int:
    """Run ``main`` until it returns and give the process's exit code.

    SIGINT and SIGTERM request the stop; ``main`` is expected to notice it and return. A SIGINT after that, the second
    Ctrl-C of an impatient person, ends the process at once with 130; a SIGTERM does not, because the kernel sends the
    parent-death signal once for each thread of a parent that is killed. An :class:`InfernoError` is printed as one
    sentence and becomes its exit code.
    """

    async def supervised() -> None:
        stop = Stop()

        def on_signal(received: signal.Signals) -> None:
            if stop.requested and received is signal.SIGINT:
                os._exit(INTERRUPTED)
            stop.request(f"signal {received.name}")

        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, on_signal, each)
        await main(stop)

    try:
        asyncio.run(supervised())
    except InfernoError as error:
        present_error(error)
        return error.exit_code
    except BaseExceptionGroup as group:
        first = first_inferno_error(group)
        if first is None:
            raise
        present_error(first)
        return first.exit_code
    return 0


def first_inferno_error(group: BaseExceptionGroup[BaseException]) -> InfernoError | None:
    """The one error worth telling, when a TaskGroup ended with nothing but errors of ours; None otherwise."""
    ours, others = group.split(InfernoError)
    if ours is None or others is not None:
        return None
    leaf: BaseException = ours
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, InfernoError) else None


def present_error(error: InfernoError) -> None:
    """Print an error for people, on standard error."""
    sys.stderr.write(f"error[{error.reason}] {error.message}\n")
    if error.fix:
        sys.stderr.write(f"  fix: {error.fix}\n")
