"""A program under its guard: launched, or found again by the next life of the agent.

The guard (:mod:`inferno_runtime.guard`) and its program outlive the agent. Files in the program's folder say what runs:
``status.json``, written by the guard (pids with start times, in the end the exit status), and ``launch.json``, written
here (what the program was started with, and a fingerprint of it).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from inferno_backend import oom
from inferno_runtime import guard
from inferno_runtime.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node keeps what one of its programs needs and leaves; the folder is called like the program."""

    folder: Path

    @property
    def status(self) -> Path:
        """The guard's file."""
        return self.folder / "status.json"

    @property
    def launch(self) -> Path:
        """Our own file."""
        return self.folder / "launch.json"

    @property
    def log(self) -> Path:
        """What the program says. A file, because a pipe would break with the agent."""
        return self.folder / f"{self.folder.name}.log"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a program is guarded.

    Attributes:
        print_of: Fingerprint of what it is started with.
        grace: Seconds between SIGTERM and SIGKILL when it is to end.
        leash_fd: Descriptor whose end ends it; negative for none.
        shm_prefix: Begins the names of its shared memory, which goes with it; empty for none.
    """

    print_of: str
    grace: float
    leash_fd: int = -1
    shm_prefix: str = ""


class GuardedProcess:
    """One life of a program. ``pid`` is the program's own; ``facts`` are what its starter wrote down."""

    def __init__(self, place: Place, launch: Any, status: Any, popen: subprocess.Popen[bytes] | None) -> None:
        self.facts: Mapping[str, Any] = launch
        self.adopted = popen is None
        self.pid = int(status["child"]["pid"])
        self._start = status["child"]["start"]
        self._guard = int(status["guard"]["pid"])
        self._guard_start = status["guard"]["start"]
        self._place = place
        self._popen = popen
        # The last two looks: a large process takes a while to be gone after the kernel has counted it.
        self._memory = (oom.read(),) * 2

    @classmethod
    async def begin(cls, command: Command, place: Place, terms: Terms, facts: Mapping[str, object]) -> Self:
        """Start a program under a new guard, and write ``facts`` down for an agent that will find it.

        Raises:
            Unavailable: The guard did not start.
        """
        place.status.unlink(missing_ok=True)
        launch = {**facts, "shm_prefix": terms.shm_prefix, "fingerprint": terms.print_of}
        place.launch.write_text(json.dumps(launch), encoding="utf-8")
        if place.log.exists():
            place.log.replace(place.log.with_suffix(".log.1"))
        argv = [sys.executable, "-m", "inferno_runtime.guard", "--grace", str(terms.grace)]
        argv += ["--shm-prefix", terms.shm_prefix, "--status-file", str(place.status)]
        if terms.leash_fd >= 0:
            argv += ["--leash-fd", str(terms.leash_fd)]
        with place.log.open("ab") as log:
            popen = subprocess.Popen(  # noqa: ASYNC220 - an asyncio child would be killed with our event loop
                [*argv, "--", *command.argv],
                env=dict(command.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(terms.leash_fd,) if terms.leash_fd >= 0 else (),
                start_new_session=True,
            )
        while not (status := read(place.status)):
            if popen.poll() is not None:
                raise Unavailable(
                    f"The guard of {place.folder.name} ended at once with status {popen.returncode}.",
                    reason="GUARD_FAILED",
                    fix=f"See {place.log}.",
                )
            await asyncio.sleep(0.01)
        return cls(place, launch, status, popen)

    @classmethod
    async def adopt(cls, place: Place, print_of: str) -> Self | None:
        """Find the program that an earlier life of this agent left running.

        One that was started with anything else is stopped; what a dead one left is removed. None when there is none.
        """
        launch, status = read(place.launch), read(place.status)
        if not launch or not status:
            return None
        found = cls(place, launch, status, None)
        if not guard.alive(found._guard, found._guard_start) or not guard.alive(found.pid, found._start):
            sweep(launch["shm_prefix"])
            return None
        if launch["fingerprint"] != print_of:
            await found.stop()
            return None
        return found

    async def gone(self) -> None:
        """Return as soon as the program itself has ended."""
        await _end_of(self.pid, self._start)

    async def ended(self) -> int | None:
        """Wait until the program and all it left are gone; return its exit status (negative: the signal that ended it).

        None when nobody knows: its guard was killed, and the program with it.
        """
        await self.gone()
        await _end_of(self._guard, self._guard_start)
        if self._popen is not None:
            self._popen.wait()
        status = read(self._place.status)
        if "exit" not in status:
            sweep(self.facts["shm_prefix"])
            return None
        return int(status["exit"])

    def look_at_memory(self, *, anew: bool = False) -> None:
        """Take what the kernel had ended for lack of memory at the look before as not ours: call it while it runs.

        ``anew``: take all that it has ended by now so.
        """
        now = oom.read()
        self._memory = (now if anew else self._memory[1], now)

    @property
    def starved(self) -> str:
        """What the kernel did for lack of memory of late, as the end of a sentence; empty: nothing."""
        return oom.verdict(self._memory[0], oom.read())

    def kill(self) -> None:
        """End the program at once, also one that is stopped or deaf; the guard clears up after it."""
        if guard.alive(self.pid, self._start):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End the program in order; return when nothing of it is left. Safe to call again."""
        if guard.alive(self._guard, self._guard_start):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._guard, signal.SIGTERM)
        await self.ended()


def cause(status: int | None, errors: list[str], who: str = "Triton", starved: str = "") -> str:
    """Why a program ended, as a sentence.

    Args:
        status: As :meth:`GuardedProcess.ended` gives it.
        errors: The last things it complained of. What a signal ended had nothing to say of that, unless it aborted.
        who: Its name.
        starved: As :attr:`GuardedProcess.starved`.

    >>> cause(-9, [])
    'Triton was killed by SIGKILL.'
    """
    if status is None:
        return f"{who} was killed together with its guard."
    said = f": {errors[-1].rstrip('.')}" if errors else ""
    if status >= 0:
        return f"{who} ended with status {status}{said}."
    name = signal.Signals(-status).name
    if status == -signal.SIGKILL and starved:
        return f"{who} was killed by {name}: {starved}."
    return f"{who} was killed by {name}{said if status == -signal.SIGABRT else ''}."


def sweep(shm_prefix: str) -> None:
    """Kill every process that works on our shared memory, and remove it: for when no guard is left to do it."""
    if not shm_prefix:
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(shm_prefix in word for word in process.cmdline()):
                process.kill()
    guard.remove_shared_memory(shm_prefix)


def read(file: Path) -> dict[str, Any]:
    """A JSON object; empty when there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


async def _end_of(pid: int, started: int) -> None:
    """Return when a process has ended. Works for any process, not only for children (pidfd_open(2))."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        if guard.alive(pid, started):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
