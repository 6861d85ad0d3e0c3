"""Processes of this machine, which do nothing but live."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import psutil

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.local import Local, Terms
from inferno_governator.providers.provider import Provider
from inferno_runtime import process
from inferno_runtime.clock import SystemClock

STEADY = "import signal, sys, time\nprint('here', flush=True)\ntime.sleep(600)"


def program(code: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", code, *arguments])


class LocalWorld:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "nodes"
        self.pool = Pool("small", "local", ("m",), maximum=4, act=True, options={"command": program(STEADY, "{node}")})
        self._kept: list[Local] = []
        self._foreign: list[subprocess.Popen[bytes]] = []

    def provider(self, *pools: Pool, grace: float = 5.0, leash_fd: int = -1) -> Provider:
        terms = Terms(self.folder, leash_fd, grace, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        self._kept.append(Local(pools or (self.pool,), terms, SystemClock()))
        return self._kept[-1]

    async def foreign(self) -> str:
        silent = subprocess.DEVNULL
        self._foreign.append(subprocess.Popen([sys.executable, "-c", STEADY], stdout=silent))  # noqa: ASYNC220 - kept
        return str(self._foreign[-1].pid)

    async def lives(self, machine: str) -> bool:
        return process.runs(int(machine))

    async def count(self) -> int:
        return len([each for each in self._foreign if each.poll() is None]) + len(self._programs())

    async def go_away(self) -> None:
        for each in self.folder.iterdir():
            each.rename(self.folder.with_name(each.name))
        self.folder.rmdir()
        self.folder.write_text("no folder")

    def _programs(self) -> list[psutil.Process]:
        return [each for guard in self.guards() for each in guard.children()]

    def guards(self) -> list[psutil.Process]:
        """Of nodes, whoever started them; a program is one too between its fork and its exec."""
        return [each for each in psutil.process_iter() if self._ours(each)]

    def _ours(self, each: psutil.Process) -> bool:
        words = _words(each)
        return "inferno_runtime.guard" in words and any(str(self.folder) in word for word in words)

    def close(self) -> None:
        ours = [process for guard in self.guards() for process in (guard, *guard.children(recursive=True))]
        for each in self.guards():
            each.terminate()
        psutil.wait_procs(ours, 30)
        for child in self._foreign:
            child.kill()
            child.wait()


def _words(each: psutil.Process) -> list[str]:
    try:
        return each.cmdline()
    except psutil.Error:
        return []
