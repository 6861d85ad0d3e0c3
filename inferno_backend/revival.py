"""Loads models again whose process has died, though their Triton calls them ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from inferno_backend.lives import Ends
from inferno_backend.triton.client import TritonClient
from inferno_backend.triton.server import Life
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

_LOG = logs.get("revival")


class Revival:
    """What has died and is not back yet, model to reason; one life of Triton after the other.

    Args:
        clock: Times.
        every: Seconds between two looks.
        steady: Seconds of life after which an earlier death counts no more.
        tell: Takes the reasons whenever they have changed.
    """

    def __init__(self, clock: Clock, *, every: float, steady: float, tell: Callable[[Mapping[str, str]], None]) -> None:
        self._clock = clock
        self._every = every
        self._steady = steady
        self._tell = tell
        self._dead: dict[str, str] = {}
        self._ends: dict[str, Ends] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._back_at: dict[str, float] = {}

    async def run(self, client: TritonClient, life: Life, ready: Callable[[], frozenset[str]]) -> None:
        """Watch one life until cancelled; ``ready`` gives the models that its Triton calls so."""
        self._dead.clear()
        self._tell({})
        async with asyncio.TaskGroup() as group:
            while True:
                # At once, and not after a while: of a process that is dead already nobody can tell whose it was.
                for model, cause in life.deaths(ready() - self._dead.keys()).items():
                    group.create_task(self._revive(client, model, cause))
                await self._clock.sleep(self._every)

    def forget(self, model: str) -> None:
        """Somebody has loaded or unloaded the model: nothing is left to do."""
        if self._dead.pop(model, None) is not None:
            self._tell(dict(self._dead))

    async def _revive(self, client: TritonClient, model: str, cause: str) -> None:
        now = self._clock.monotonic()
        backoff = self._backoffs.setdefault(model, Backoff(0.1, 30.0))
        steady = now - self._back_at.get(model, 0.0) > self._steady
        if steady:
            backoff.reset()
        ends = self._ends[model] = self._ends.get(model, Ends()).after(now, steady=steady)
        self._say(model, f"{cause} It does not answer until it is loaded again.")
        failure = ""
        while True:
            delay = backoff.next()
            told = ends.told(f"{cause}{failure}", now, self._clock.wall() + delay)
            self._say(model, told)
            _LOG.warning("a model's process has died: the model is loaded again", model=model, cause=told)
            await self._clock.sleep(delay)
            if model not in self._dead:
                return None
            try:
                # A plain load changes nothing where the files are the same.
                await client.unload(model)
                await client.load(model)
            except InfernoError as error:
                failure = f" It could not be loaded again: {error.message.splitlines()[0]}"
                continue
            self._back_at[model] = self._clock.monotonic()
            return self.forget(model)

    def _say(self, model: str, reason: str) -> None:
        self._dead[model] = reason
        self._tell(dict(self._dead))
