"""What is left of a family of processes after its head was asked to end, such as model servers without their agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from inferno_runtime import guard

_POLL_SECONDS = 0.02
_GUARD_SECONDS = 0.5


def family(head: int | None = None) -> Sequence[psutil.Process]:
    """Every process that descends from this one now; or from another, which counts too and may be gone already."""
    if head is None:
        return psutil.Process(os.getpid()).children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(head)
        return [process, *process.children(recursive=True)]
    return []


async def end(processes: Sequence[psutil.Process], grace: float) -> Sequence[int]:
    """Wait ``grace`` seconds for the processes to end by themselves, then kill the rest; return the pids killed.

    Guards go last: one that sees its program die removes the shared memory which nobody else knows of.
    """
    await _gone(processes, grace)
    killed = _kill([each for each in processes if not _guards(each)])
    await _gone(processes, _GUARD_SECONDS if killed else 0.0)
    return [*killed, *_kill(processes)]


def sweep(folder: Path) -> None:
    """Remove what guards that were killed could not: processes and shared memory of the programs whose guards wrote a
    ``status.json`` anywhere below a folder."""
    for file in folder.rglob("status.json"):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            prefix, pid, started = said["shm_prefix"], said["guard"]["pid"], said["guard"]["start"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not prefix or guard.alive(pid, started):
            continue
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(prefix in word for word in process.cmdline()):
                    process.kill()
        guard.remove_shared_memory(prefix)


async def _gone(processes: Sequence[psutil.Process], within: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            # Not our children: there is nothing to await but the state of the process table.
            while any(map(_runs, processes)):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)


def _kill(processes: Sequence[psutil.Process]) -> list[int]:
    killed = []
    for each in processes:
        if _runs(each):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
                killed.append(each.pid)
    return killed


def _guards(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "inferno_runtime.guard" in process.cmdline()
    return False


def _runs(process: psutil.Process) -> bool:
    # is_running compares the start time too, so a reused pid does not count.
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
