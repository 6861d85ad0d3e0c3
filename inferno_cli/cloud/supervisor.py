"""The parent of a mesh on this machine: starts every component, restarts what dies, stops all in order.

A component that dies before it was ever ready ends the start, with its own sentence. One that dies later is started
again after a growing delay.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from inferno_cli.cloud import sentence
from inferno_cli.cloud.child import Child, Facts
from inferno_cli.cloud.components import Component, Rank
from inferno_cli.cloud.folder import DataFolder
from inferno_cli.cloud.governed import GovernedNodes
from inferno_cli.cloud.progress import Progress
from inferno_runtime import remains
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.lifecycle import Stop
from inferno_runtime.notify import NotifySocket

LEASH_VARIABLE = "INFERNO_BACKEND_LEASH_FD"
GOVERNED_LEASH_VARIABLE = "INFERNO_GOVERNATOR_LEASH_FD"
# All of a stop, in seconds, and by which share of it each rank must have ended: what one leaves over, the next may use.
# What the components leave behind comes last. A Triton with work that never ends takes 5.5 s; a proxy ends in 0.5 s and
# a governator in 0.3 s where nothing else runs, and each has more than a second even when all before it are late.
STOP_SECONDS = 9.4
SHARES: Mapping[Rank, float] = {Rank.NODE: 0.67, Rank.PROXY: 0.79, Rank.GOVERNATOR: 0.93}
_STEADY_SECONDS = 30.0


class Supervisor:
    """The running components. Enter it, wait for :meth:`ready`, then wait for the stop; leaving it stops everything."""

    def __init__(
        self,
        components: Sequence[Component],
        folder: DataFolder,
        progress: Progress,
        clock: Clock,
        *,
        pass_fds: Sequence[int] = (),
        stop_seconds: float = STOP_SECONDS,
        governed: GovernedNodes | None = None,
    ) -> None:
        self._folder = folder
        self._progress = progress
        self._clock = clock
        self._pass_fds = pass_fds
        self._components = components
        self._stop_seconds = stop_seconds
        self._governed = governed
        self.children: Sequence[Child] = ()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run every component for as long as the block runs.

        Raises:
            InfernoError: A component could not start; the others are stopped.
        """
        async with AsyncExitStack() as stack:
            notify = await stack.enter_async_context(NotifySocket())
            leash, held = os.pipe()
            stack.callback(os.close, leash)
            self.children = [self._child(each, notify, leash) for each in self._components]
            try:
                async with asyncio.TaskGroup() as tasks:
                    running = [tasks.create_task(self._listen(notify))]
                    running += [tasks.create_task(self._keep(child)) for child in self.children]
                    yield
                    for each in running:
                        each.cancel()
            finally:
                await self._stop(held)

    def _child(self, component: Component, notify: NotifySocket, leash: int) -> Child:
        self._folder.of(component.name).mkdir(mode=0o700, exist_ok=True)
        log = self._folder.logs / f"{component.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        log.touch(mode=0o600)
        env = {**os.environ, "NOTIFY_SOCKET": notify.path}
        fds = list(self._pass_fds)
        if component.rank is Rank.NODE:
            # A model server survives its agent, but not us: its guard watches for the end of this pipe.
            env[LEASH_VARIABLE] = str(leash)
            fds.append(leash)
        if component.rank is Rank.GOVERNATOR and self._governed is not None:
            env[GOVERNED_LEASH_VARIABLE] = str(self._governed.leash)
            fds.append(self._governed.leash)
        return Child(component, log, env, fds)

    async def _listen(self, notify: NotifySocket) -> None:
        while True:
            pid, fields = await notify.receive()
            child = next((each for each in self.children if each.pid == pid), None)
            if child is not None and fields.get("READY") == "1":
                facts: Facts = json.loads(fields.get("X_INFERNO", "{}"))
                child.facts.set({**facts, "pid": pid})
                self._progress.ready(child.component.name, pid)

    async def _keep(self, child: Child) -> None:
        backoff = Backoff(0.1, 5.0)
        while True:
            began = self._clock.monotonic()
            self._progress.starting(child.component.name)
            status = await child.run()
            if child.facts.value is None:
                raise sentence.failure(child.component.name, status, child.log)
            if self._clock.monotonic() - began > _STEADY_SECONDS:
                backoff.reset()
            delay = backoff.next()
            self._progress.died(child.component.name, sentence.ended(status), delay)
            await self._clock.sleep(delay)

    async def ready(self, stop: Stop) -> bool:
        """Wait until every component is ready; False when the stop comes first."""
        async with asyncio.TaskGroup() as tasks:
            stopped = tasks.create_task(stop.wait())
            waiting = tasks.create_task(self._all_ready())
            await asyncio.wait((stopped, waiting), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            waiting.cancel()
        return not stop.requested

    async def _all_ready(self) -> None:
        for child in self.children:
            await child.facts.wait_for(lambda facts: facts is not None)

    def waiting_for(self) -> Sequence[str]:
        """Names of the components that were never ready."""
        return [child.component.name for child in self.children if child.facts.value is None]

    async def _stop(self, held: int) -> None:
        began = self._clock.monotonic()
        family = remains.family()
        if self._governed is not None:
            self._progress.stopping(["the governator's nodes"])
            within = self._stop_seconds * SHARES[Rank.NODE]
            for name in await self._governed.end(within):
                self._progress.killed(name, within)
        for rank in Rank:
            children = [child for child in self.children if child.component.rank is rank and child.pid is not None]
            if not children:
                continue
            names = [child.component.name for child in children]
            self._progress.stopping(names)
            grace = began + self._stop_seconds * SHARES[rank] - self._clock.monotonic()
            ended = await asyncio.gather(*(child.stop(grace) for child in children))
            for name, in_time in zip(names, ended, strict=True):
                if not in_time:
                    self._progress.killed(name, grace)
        os.close(held)
        grace = began + self._stop_seconds - self._clock.monotonic()
        for pid in await remains.end(family, grace):
            self._progress.killed(f"process {pid}", grace)
