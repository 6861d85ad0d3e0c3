"""A small program that owns another one and everything it starts.

``python -m inferno_runtime.guard [options] -- program arguments...`` runs the program in a session of its own. When the
program ends, however it ends, the guard kills what is left of its family (also children that were reparented), removes
its shared memory files and exits with its status. Triton needs this: killed hard, it leaves Python stubs behind for
minutes, and their regions in /dev/shm for ever.

The guard outlives whoever started it, so that a model server goes on serving when its agent dies. Two things end it:
SIGTERM or SIGINT, and the end of the leash, a pipe whose write end is held by the process that must not be outlived.
The program itself dies with the guard (``PR_SET_PDEATHSIG``).

Only the standard library is imported: the guard stays for as long as the server, at a few megabytes.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

# prctl(2).
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SHM = Path("/dev/shm")  # noqa: S108 - the place of POSIX shared memory, not a temporary file of ours
_SWEEP_SECONDS = 2.0
# Signals with a handler in the guard; its program starts without one.
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_CANNOT_EXECUTE = 127


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process.

    A pid is used again; a pid with its start time is not. Source: proc(5), field 22 of ``/proc/PID/stat``.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def alive(pid: int, started: int) -> bool:
    """True when the process that had this pid and start time still runs (a zombie does not)."""
    fields = _stat(pid)
    return bool(fields) and int(fields[19]) == started and fields[0] != "Z"


def remove_shared_memory(prefix: str) -> None:
    """Remove the shared memory files whose names begin with ``prefix``; an empty prefix removes nothing."""
    for file in _SHM.glob(f"{prefix}*") if prefix else ():
        file.unlink(missing_ok=True)


def kill_group(group: int) -> None:
    """SIGKILL to every process of a group; an empty group is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third (state) on; empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The second field is the name in parentheses and may hold anything, also blanks and parentheses.
    return text[text.rindex(")") + 2 :].split()


def _guards(pid: int) -> bool:
    """True for a process that is a guard as we are."""
    with contextlib.suppress(OSError):
        return b"inferno_runtime.guard" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def _children() -> Iterator[int]:
    me = str(os.getpid())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _stat(int(entry.name))[1:2] == [me]:
            yield int(entry.name)


class Guard:
    """One program under guard, from :meth:`start` to :meth:`run`'s exit code."""

    def __init__(self, argv: Sequence[str], *, leash: int, shm_prefix: str, status: Path | None, grace: float) -> None:
        self._argv = argv
        self._leash = leash
        self._shm_prefix = shm_prefix
        self._status = status
        self._grace = grace
        self._child = 0
        self._child_start: int | None = None
        self._wait_status: int | None = None
        self._kill_at: float | None = None

    def start(self) -> None:
        """Become the reaper of the whole family and start the program."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        me = os.getpid()
        # A signal that comes before the child has its own disposition of it waits: our handler would swallow it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
        self._child = os.fork()
        if self._child == 0:
            try:
                libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
                if os.getppid() == me:  # Otherwise the guard has died already and no signal would come.
                    os.setsid()
                    signal.set_wakeup_fd(-1)
                    for each in _OURS:
                        signal.signal(each, signal.SIG_DFL)
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
                    if self._leash >= 0:
                        os.close(self._leash)
                    os.execvp(self._argv[0], list(self._argv))  # noqa: S606 - no shell is the point
            except OSError as error:
                os.write(2, f"{self._argv[0]} cannot be started: {error.strerror}\n".encode())
            os._exit(_CANNOT_EXECUTE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
        self._child_start = start_time(self._child)
        self._write_status()

    def run(self, wakeup: int) -> int:
        """Wait for the program's end, or cause it; return its status as a shell gives it (128 + signal).

        ``wakeup`` is the read end of the pipe that signal numbers arrive on.
        """
        leash = [self._leash] if self._leash >= 0 else []
        while self._wait_status is None:
            timeout = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
            readable, _, _ = select.select([wakeup, *leash], [], [], timeout)
            received = os.read(wakeup, 512) if wakeup in readable else b""
            self._reap()
            if signal.SIGTERM in received or signal.SIGINT in received:
                self._terminate()
            if self._leash in readable and not os.read(self._leash, 512):
                leash = []
                self._terminate()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                kill_group(self._child)
                self._kill_at = time.monotonic() + self._grace
        self._sweep()
        self._write_status()
        code = os.waitstatus_to_exitcode(self._wait_status)
        return code if code >= 0 else 128 - code

    def _terminate(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._grace
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGTERM)
                # A stopped process takes no SIGTERM until it is continued.
                os.kill(self._child, signal.SIGCONT)

    def _reap(self) -> None:
        """Collect every child that ended, the program's and those that were reparented to us."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child:
                    self._wait_status = status

    def _sweep(self) -> None:
        """Kill the rest of the family and remove what it left. A killed process gives us its children, so go on.

        A guard among them is asked first: what its own family leaves behind, it alone knows.
        """
        kill_group(self._child)
        began = time.monotonic()
        asked = set[int]()
        while (rest := list(_children())) and (passed := time.monotonic() - began) < self._grace + _SWEEP_SECONDS:
            guards = [pid for pid in rest if _guards(pid)] if passed < self._grace else []
            for pid in rest:
                if pid not in asked:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM if pid in guards else signal.SIGKILL)
            asked.update(guards)
            asked.intersection_update(guards)
            self._reap()
            time.sleep(0.005)  # noqa: TID251 - a process of one thread that waits for the kernel
        remove_shared_memory(self._shm_prefix)

    def _write_status(self) -> None:
        if self._status is None:
            return
        me = os.getpid()
        facts: dict[str, object] = {
            "guard": {"pid": me, "start": start_time(me)},
            "child": {"pid": self._child, "start": self._child_start},
            "shm_prefix": self._shm_prefix,
        }
        if self._wait_status is not None:
            # Negative: the signal that ended it.
            facts["exit"] = os.waitstatus_to_exitcode(self._wait_status)
        draft = self._status.with_name(self._status.name + ".new")
        draft.write_text(json.dumps(facts), encoding="utf-8")
        draft.replace(self._status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the guard; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m inferno_runtime.guard", description="Own a program and its family."
    )
    parser.add_argument("--leash-fd", type=int, default=-1, help="read end of a pipe; its end ends the program")
    parser.add_argument("--shm-prefix", default="", help="remove /dev/shm files with this prefix in the end")
    parser.add_argument("--status-file", type=Path, default=None, help="where to write pids and the exit status (JSON)")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("argv", nargs="+", help="program and arguments, after --")
    given = parser.parse_args(arguments)
    wakeup, wakeup_writer = os.pipe()
    os.set_blocking(wakeup_writer, False)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    for each in _OURS:
        signal.signal(each, lambda *_: None)
    # Whoever started us may be gone: writing to a pipe of theirs must not end us.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    guard = Guard(
        given.argv, leash=given.leash_fd, shm_prefix=given.shm_prefix, status=given.status_file, grace=given.grace
    )
    guard.start()
    return guard.run(wakeup)


if __name__ == "__main__":
    sys.exit(main())
