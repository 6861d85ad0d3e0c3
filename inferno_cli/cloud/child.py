"""One component's process: started, heard from, stopped, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inferno_cli.cloud.components import Component
from inferno_runtime import process
from inferno_runtime.latest import Latest

Facts = Mapping[str, Any]


class Child:
    """The process of one component. ``facts`` holds what it said of itself when it was ready; None before that."""

    def __init__(self, component: Component, log: Path, env: Mapping[str, str], pass_fds: Sequence[int]) -> None:
        self.component = component
        self.log = log
        self.facts: Latest[Facts | None] = Latest(None)
        self._env = env
        self._pass_fds = pass_fds
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def run(self) -> int:
        """Start the process and wait for its end; return its exit status, negative for a signal.

        Raises:
            Unavailable: It cannot be started.
        """
        with self.log.open("ab") as log:
            self._process = await process.spawn(
                self.component.argv,
                env=self._env,
                stdout=log.fileno(),
                stderr=subprocess.STDOUT,
                die_with_parent=signal.SIGTERM,
                pass_fds=self._pass_fds,
                # A terminal's Ctrl-C reaches the parent alone, which ends its children in order.
                new_group=True,
            )
        return await self._process.wait()

    def hang_up(self) -> None:
        """Have it read its settings again; nothing before it was ready, for a start reads them anyway."""
        if self._process is not None and self.facts.value is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    async def stop(self, grace: float) -> bool:
        """Ask the process to end; after ``grace`` seconds kill it and its group. False when it had to be killed."""
        running = self._process
        if running is None or running.returncode is not None:
            return True
        # To the process alone: it ends what it started in its own order.
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await running.wait()
        except TimeoutError:
            await process.terminate(running, 0.0)
            return False
        return True
