"""A Triton of our own under its guard: launched, or found again by the next life of the agent.

The guard (:mod:`inferno_runtime.guard`) and Triton outlive the agent. Files in the node's folder say what runs:
``status.json``, written by the guard (pids with start times, in the end the exit status); ``launch.json``, written here
(ports, shared memory prefix, and a fingerprint of everything Triton was started with); ``served.json``, written when it
first serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from inferno_backend.node import Endpoints
from inferno_backend.triton.command import Command, Ports
from inferno_runtime import guard
from inferno_runtime.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node keeps what its Triton needs and leaves."""

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
        """What Triton says. A file, because a pipe would break with the agent."""
        return self.folder / "triton.log"

    @property
    def served(self) -> Path:
        """Names the last Triton that was seen to serve."""
        return self.folder / "served.json"

    @property
    def backends(self) -> Path:
        """Our copy of the backends."""
        return self.folder / "backends"


class TritonProcess:
    """One life of a Triton. ``pid`` is Triton's own."""

    def __init__(
        self, place: Place, ports: Ports, shm_prefix: str, facts: Any, popen: subprocess.Popen[bytes] | None
    ) -> None:
        self.ports = ports
        self.endpoints = endpoints_of(ports)
        self.adopted = popen is None
        self.pid = int(facts["child"]["pid"])
        self._start = facts["child"]["start"]
        self._guard = int(facts["guard"]["pid"])
        self._guard_start = facts["guard"]["start"]
        self._place = place
        self._shm_prefix = shm_prefix
        self._popen = popen

    @classmethod
    async def launch(
        cls,
        command: Command,
        place: Place,
        *,
        ports: Ports,
        shm_prefix: str,
        print_of: str,
        grace: float,
        leash_fd: int = -1,
    ) -> Self:
        """Start Triton under a new guard.

        Args:
            command: What to run.
            place: Where its files go.
            ports: Where it will listen.
            shm_prefix: Its shared memory prefix.
            print_of: Fingerprint of what it is started with.
            grace: Seconds between SIGTERM and SIGKILL when it is to end.
            leash_fd: Descriptor whose end ends Triton; negative for none.

        Raises:
            Unavailable: The guard did not start.
        """
        place.status.unlink(missing_ok=True)
        facts = {"ports": asdict(ports), "shm_prefix": shm_prefix, "fingerprint": print_of}
        place.launch.write_text(json.dumps(facts), encoding="utf-8")
        if place.log.exists():
            place.log.replace(place.log.with_suffix(".log.1"))
        argv = [sys.executable, "-m", "inferno_runtime.guard", "--shm-prefix", shm_prefix, "--grace", str(grace)]
        argv += ["--status-file", str(place.status)]
        if leash_fd >= 0:
            argv += ["--leash-fd", str(leash_fd)]
        with place.log.open("ab") as log:
            popen = subprocess.Popen(  # noqa: ASYNC220 - an asyncio child would be killed with our event loop
                [*argv, "--", *command.argv],
                env=dict(command.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(leash_fd,) if leash_fd >= 0 else (),
                start_new_session=True,
            )
        while not (status := _read(place.status)):
            if popen.poll() is not None:
                raise Unavailable(
                    f"Triton's guard ended at once with status {popen.returncode}.",
                    reason="GUARD_FAILED",
                    fix=f"See {place.log}.",
                )
            await asyncio.sleep(0.01)
        return cls(place, ports, shm_prefix, status, popen)

    @classmethod
    async def adopt(cls, place: Place, print_of: str) -> Self | None:
        """Find the Triton that an earlier life of this agent left running.

        One that was started with anything else is stopped; what a dead one left is removed. None when there is none.
        """
        launch, status = _read(place.launch), _read(place.status)
        if not launch or not status:
            return None
        found = cls(place, Ports(**launch["ports"]), launch["shm_prefix"], status, None)
        if not guard.alive(found._guard, found._guard_start) or not guard.alive(found.pid, found._start):
            sweep(found._shm_prefix)
            return None
        if launch["fingerprint"] != print_of:
            await found.stop()
            return None
        return found

    async def gone(self) -> None:
        """Return as soon as Triton itself has ended."""
        await _end_of(self.pid, self._start)

    async def ended(self) -> int | None:
        """Wait until Triton and all it left are gone; return its exit status (negative: the signal that ended it).

        None when nobody knows: its guard was killed, and Triton with it.
        """
        await self.gone()
        await _end_of(self._guard, self._guard_start)
        if self._popen is not None:
            self._popen.wait()
        status = _read(self._place.status)
        if "exit" not in status:
            sweep(self._shm_prefix)
            return None
        return int(status["exit"])

    def note_service(self) -> None:
        """Remember that this Triton has served, for an agent that will adopt it."""
        self._place.served.write_text(json.dumps({"pid": self.pid, "start": self._start}), encoding="utf-8")

    def has_served(self) -> bool:
        """True when an agent has seen this Triton serve."""
        return _read(self._place.served) == {"pid": self.pid, "start": self._start}

    def kill(self) -> None:
        """End Triton at once, also one that is stopped or deaf; the guard clears up after it."""
        if guard.alive(self.pid, self._start):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End Triton in order; return when nothing of it is left. Safe to call again."""
        if guard.alive(self._guard, self._guard_start):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._guard, signal.SIGTERM)
        await self.ended()


def endpoints_of(ports: Ports) -> Endpoints:
    """Where this machine reaches a Triton on these ports."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ports.host, ports.host)  # noqa: S104 - compared, not bound
    host = f"[{host}]" if ":" in host else host
    return Endpoints(f"{host}:{ports.grpc}", f"{host}:{ports.http}", f"{host}:{ports.metrics}")


def fingerprint(command: Command) -> str:
    """What tells whether a running Triton was started with the same things, whichever ports it got."""
    kept = [word for word in command.argv if not word.startswith(("--grpc-port", "--http-port", "--metrics-port"))]
    kept = [word for word in kept if "shm-region-prefix-name" not in word]
    return hashlib.sha256("\0".join(kept).encode()).hexdigest()


def cause(status: int | None, errors: list[str]) -> str:
    """Why Triton ended, as a sentence; ``errors`` are the last things it complained of.

    >>> cause(-9, [])
    'Triton was killed by SIGKILL.'
    """
    if status is None:
        return "Triton was killed together with its guard."
    if status < 0:
        return f"Triton was killed by {signal.Signals(-status).name}."
    said = f": {errors[-1].rstrip('.')}" if errors else ""
    return f"Triton ended with status {status}{said}."


def sweep(shm_prefix: str) -> None:
    """Kill every process that works on our shared memory, and remove it: for when no guard is left to do it."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(shm_prefix in word for word in process.cmdline()):
                process.kill()
    guard.remove_shared_memory(shm_prefix)


def _read(file: Path) -> dict[str, Any]:
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
