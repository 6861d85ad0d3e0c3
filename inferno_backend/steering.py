"""What the proxies want of the node, and the doing of it: drains, models loaded, models withdrawn and unloaded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from inferno_backend.meter import Meter
from inferno_backend.registration import ProxyView, Registrar, Wish
from inferno_backend.supervisor import Supervisor
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

_LOG = logs.get("steering")
# A data plane that has not answered by then is taken not to matter: requests it still sends are retried elsewhere.
_APPLIED_SECONDS = 2.0
_IDLE_EVERY = 0.1


def drained_by(views: Mapping[str, ProxyView]) -> tuple[str, ...]:
    """The proxies that want the node drained: one is enough."""
    return tuple(proxy for proxy, view in sorted(views.items()) if view.drain)


def applied(views: Iterable[ProxyView], revision: int) -> bool:
    """True when every connected proxy's data planes have applied a revision."""
    return all(view.applied_revision >= revision for view in views if view.connected)


class Steering:
    """Acts on the wishes of all proxies; each wish of each proxy once."""

    def __init__(
        self, supervisor: Supervisor, registrars: Sequence[Registrar], meter: Meter, clock: Clock, drain_timeout: float
    ) -> None:
        self._supervisor = supervisor
        self._registrars = registrars
        self._meter = meter
        self._clock = clock
        self._drain_timeout = drain_timeout
        self._acted: dict[tuple[str, str], int] = {}
        self._draining: tuple[str, ...] = ()

    async def run(self) -> None:
        """Follow every proxy until cancelled."""
        async with asyncio.TaskGroup() as group:
            for registrar in self._registrars:
                group.create_task(self._follow(registrar, group))

    async def _follow(self, registrar: Registrar, group: asyncio.TaskGroup) -> None:
        async for view in registrar.view.watch():
            draining = drained_by({one.proxy: one.view.value for one in self._registrars})
            if draining != self._draining:
                self._draining = draining
                self._supervisor.drain(f"The proxy at {draining[0]} asked for it." if draining else "")
            for wish in view.wishes:
                key = (registrar.proxy, wish.model)
                if wish.generation > self._acted.get(key, 0):
                    self._acted[key] = wish.generation
                    group.create_task(self._do(wish))

    async def _do(self, wish: Wish) -> None:
        what = "loading" if wish.loaded else "unloading"
        try:
            if wish.loaded:
                await self._supervisor.load(wish.model)
            else:
                await self.confirmed(self._supervisor.withdraw(wish.model))
                await self.idle(wish.model)
                await self._supervisor.unload(wish.model)
        except InfernoError as error:
            _LOG.error(f"{what} a model failed", model=wish.model, error=error.message)
        else:
            _LOG.info(f"{what} a model is done", model=wish.model)

    async def confirmed(self, revision: int) -> bool:
        """Wait until every connected proxy's data planes have applied a revision; False when it took too long."""
        try:
            async with asyncio.timeout(_APPLIED_SECONDS):
                for registrar in self._registrars:
                    await registrar.view.wait_for(lambda view: applied([view], revision))
        except TimeoutError:
            _LOG.warning("a data plane has not confirmed in time", revision=revision)
            return False
        return True

    async def idle(self, model: str = "") -> bool:
        """Wait until no request waits for a model (empty: for any), none ends any more and no stream runs.

        False when it took too long.

        The server shows no gauge of other running requests; it finishes those itself before it unloads or ends.
        """
        until = self._clock.monotonic() + self._drain_timeout
        before = None
        while self._clock.monotonic() < until:
            reading = await self._meter.read()
            if reading is None:
                return True  # The server is gone: nothing runs.
            now = {key: counters for key, counters in reading.counters.items() if model in ("", key[0])}
            waiting = any(counters.pending for counters in now.values())
            streaming = any(
                each.running for key, seen in reading.streams.items() if model in ("", key[0]) for each in seen
            )
            if now == before and not waiting and not streaming:
                return True
            before = now
            await self._clock.sleep(_IDLE_EVERY)
        return False
