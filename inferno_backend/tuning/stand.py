"""The Triton in which points are tried: over the overlay, started again when a point was too much for it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from inferno_backend.benchmark import curve
from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.host import Host, own
from inferno_backend.benchmark.load import Effort, Load
from inferno_backend.node import ModelState
from inferno_backend.triton.installation import Installation
from inferno_backend.tuning.overlay import Overlay
from inferno_backend.tuning.search import Trial
from inferno_backend.tuning.space import Point, applied
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, TimedOut, Unavailable

_LOOK = 0.02
_FIRST_SECONDS = 600.0


class Stand:
    """An async context manager: leaving it ends the Triton."""

    def __init__(self, found: Installation, overlay: Overlay, model: str, clock: Clock, timeout: float) -> None:
        self._installation = found
        self._overlay = overlay
        self._model = model
        self._clock = clock
        self._timeout = timeout
        self._running = AsyncExitStack()
        self._host: Host | None = None
        self._at: Point | None = None
        self.starts = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    async def host(self) -> Host:
        """The running Triton, started if there is none.

        Raises:
            InfernoError: It does not start.
        """
        if self._host is None:
            self._host = await self._running.enter_async_context(
                own(self._installation, self._overlay.repository(), (self._model,), self._clock, self._timeout)
            )
            self._at = None
            self.starts += 1
        return self._host

    async def trial(
        self, config: Any, point: Point, request: bytes, objective_ms: float, levels: tuple[int, ...], effort: Effort
    ) -> Trial:
        """The curve of a point; what Triton, or the model, says against it is part of the answer."""
        try:
            host = await self.put(config, point)
            load = Load(host.address, self._clock)
            try:
                await load.once(request, _FIRST_SECONDS)
                steps: list[Step] = []
                for level in levels:
                    steps.append(await load.step(request, 1, level, effort))
                    if curve.over(steps, objective_ms):
                        break
            finally:
                await load.close()
        except InfernoError as error:
            await self._end()
            return Trial(error=error.message)
        return Trial(tuple(steps))

    async def step(self, config: Any, point: Point, request: bytes, level: int, effort: Effort) -> Step:
        """One step of a point.

        Raises:
            InfernoError: Triton does not run it, or it answers nothing.
        """
        host = await self.put(config, point)
        load = Load(host.address, self._clock)
        try:
            await load.once(request, _FIRST_SECONDS)
            return await load.step(request, 1, level, effort)
        finally:
            await load.close()

    async def put(self, config: Any, point: Point) -> Host:
        """Have the model run at a point, alone: two configurations of a large model may not fit beside one another.

        Raises:
            InfernoError: Triton does not load it so; with its reason.
        """
        host = await self.host()
        if point != self._at:
            self._at = None
            await host.client.unload(self._model)
            await self._unloaded(host)
            self._overlay.configure(applied(config, point))
            await host.client.load(self._model)
            await host.check_ready(self._model)
            self._at = point
        return host

    async def _unloaded(self, host: Host) -> None:
        deadline = self._clock.monotonic() + self._timeout
        over = ("", ModelState.UNAVAILABLE)
        while any(row.name == self._model and row.state not in over for row in await host.client.index()):
            if self._clock.monotonic() > deadline:
                raise TimedOut(f"Triton does not unload {self._model}.", reason="UNLOAD_TIMEOUT")
            await self._clock.sleep(_LOOK)

    async def _end(self) -> None:
        """What failed may have left Triton in any state: the next point gets a fresh one."""
        await self._running.aclose()
        self._running, self._host, self._at = AsyncExitStack(), None, None
        self._overlay.restore()


def unusable(trial: Trial) -> Unavailable:
    """The error for a model that does not run as it is configured now."""
    return Unavailable(
        f"The model cannot be tuned: as it is configured now it does not run: {trial.error.rstrip('.')}.",
        reason="MODEL_NOT_READY",
        fix="Correct its config.pbtxt first.",
    )
