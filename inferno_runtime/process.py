"""Child processes that never outlive their parent, and the ports they listen on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from inferno_runtime.errors import Denied, InfernoError, InvalidInput, Unavailable

# A child asks the kernel for its parent's death by itself, in a moment of Python before it becomes the program: code of
# ours between fork and exec (preexec_fn) would take a real fork, whose handlers abort the child now and then where gRPC
# has threads. 1 is PR_SET_PDEATHSIG of prctl(2); exec keeps it. The parent may have ended before prctl: then no signal
# would ever come. Python ignores two signals, and exec would keep that too.
_FOLLOW_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[2]))
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
for each in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(each, signal.SIG_DFL)
os.execvp(sys.argv[3], sys.argv[3:])
"""

Output = int | None


async def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Output = None,
    stderr: Output = None,
    die_with_parent: signal.Signals | None = signal.SIGTERM,
    pass_fds: Sequence[int] = (),
    new_group: bool = False,
) -> asyncio.subprocess.Process:
    """Start ``argv``.

    Args:
        argv: Program and arguments.
        env: The whole environment; None inherits ours.
        cwd: Working directory; None inherits ours.
        stdout: As for ``subprocess``; None inherits ours.
        stderr: As for ``subprocess``; None inherits ours.
        die_with_parent: Signal the kernel sends the child when this process ends, however it ends; None for none.
        pass_fds: File descriptors the child inherits.
        new_group: Make the child the leader of a session and process group of its own, so that a terminal's Ctrl-C
            does not reach it and :func:`terminate` can end everything it started.

    Raises:
        Unavailable: The program cannot be started.
    """
    program = argv[0]
    if shutil.which(program, path=(os.environ if env is None else env).get("PATH")) is None:
        raise Unavailable(
            f"{program} cannot be started: it is no program that can be found and executed.",
            reason="SPAWN_FAILED",
            fix="Check that it is installed and may be executed.",
            metadata={"program": program},
        )
    if die_with_parent is not None:
        argv = [sys.executable, "-ISc", _FOLLOW_PARENT, str(os.getpid()), str(int(die_with_parent)), *argv]
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            start_new_session=new_group,
        )
    except OSError as error:
        raise Unavailable(
            f"{program} cannot be started: {error.strerror}.",
            reason="SPAWN_FAILED",
            fix="Check its folder, and that this machine has processes and memory left.",
            metadata={"program": program},
        ) from error


async def terminate(process: asyncio.subprocess.Process, grace: float) -> int:
    """End a child: SIGTERM, then SIGKILL after ``grace`` seconds, to its whole group if it leads one.

    Safe to call again and after the child has ended. Returns the exit status as ``subprocess`` gives it.
    """
    group = _leads_group(process.pid)
    if process.returncode is None:
        _send(process.pid, signal.SIGTERM, group=group)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                return await process.wait()
        _send(process.pid, signal.SIGKILL, group=group)
    return await process.wait()


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _send(pid: int, what: signal.Signals, *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(pid, what)
        else:
            os.kill(pid, what)


def is_stopped(pid: int) -> bool:
    """True when a signal has stopped the process (state T of proc(5)); False for one that runs, or is gone."""
    return _stat(pid)[:1] == ["T"]


def runs(pid: int) -> bool:
    """True when a process runs or is stopped; False when it has ended, collected by its parent or not."""
    return _stat(pid)[:1] not in ([], ["Z"])


def cpu_seconds(pid: int) -> float:
    """The processor time that all threads of a process have used; 0 for one that is gone."""
    fields = _stat(pid)
    # utime and stime are fields 14 and 15 of proc(5), counted from 1; the state is field 3.
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s ``stat`` from the state on; none for a process that is gone."""
    with contextlib.suppress(OSError):
        # The second field, the name in brackets, may hold anything; the state follows its last bracket.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on at this moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def port_holder(host: str, port: int) -> str | None:
    """Who listens on a TCP port of this machine, like ``pid 4121 (nginx)``; None when nobody does.

    ``host`` may be a wildcard. A holder that the kernel does not let us see is ``another process``.

    Raises:
        Denied: This user may not listen on such a port.
        InvalidInput: The host is no address of this machine.
    """
    # Bound and closed again without SO_REUSEPORT: that option would let two servers share the port unnoticed.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _listener(port)
            raise _unusable(host, port, error) from error
    return None


def _unusable(host: str, port: int, error: OSError) -> InfernoError:
    if error.errno == errno.EACCES:
        return Denied(
            f"This user may not listen on port {port}.", reason="PORT_DENIED", fix="Choose a port above 1023."
        )
    return InvalidInput(
        f"{host} cannot be listened on: {error.strerror or error}.",
        reason="BAD_ADDRESS",
        fix="Use an address of this machine, for example 127.0.0.1.",
    )


def _listener(port: int) -> str:
    import psutil

    for connection in psutil.net_connections(kind="tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        if listens and connection.pid:
            with contextlib.suppress(psutil.Error):
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another process"
