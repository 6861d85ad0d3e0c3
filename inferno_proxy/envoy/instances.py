"""The Envoys of one proxy: one, or several that share the public port (SO_REUSEPORT)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType

from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.envoy.waiting_room import WaitingRoom
from inferno_proxy.fleet import Address
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.latest import Latest

_LOG = logs.get("envoy")
# Addresses, and the certificate that is shown at each, None without TLS.
Doors = dict[Address, IdentityFolder | None]


class Envoys:
    """An async context manager around the Envoys of one proxy: entering returns when all of them serve.

    ``doors`` are the addresses they share. ``serving`` is true while at least one of them serves.

    Raises (on entering):
        Unavailable: One of them does not become ready; none is left.
    """

    def __init__(self, doors: Doors, envoys: Sequence[EnvoyProcess], clock: Clock) -> None:
        self.serving: Latest[bool] = Latest(False)
        self._envoys = envoys
        self._rooms = [WaitingRoom(listen, self.serving, clock, tls=tls) for listen, tls in doors.items()]
        self._stack = AsyncExitStack()

    @property
    def pids(self) -> list[int]:
        """The processes that serve now."""
        return [envoy.life.value.process.pid for envoy in self._envoys if envoy.life.value]

    async def __aenter__(self) -> Envoys:
        async with AsyncExitStack() as stack:
            for envoy in self._envoys:
                await stack.enter_async_context(envoy)
            self._stack = stack.pop_all()
        self.serving.set(True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def keep(self) -> None:
        """Keep each of them alive, and connections waiting while none is, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for room in self._rooms:
                group.create_task(room.run(), name="waiting-room")
            for envoy in self._envoys:
                group.create_task(self._follow(envoy), name="envoy-serves")
                group.create_task(envoy.keep(), name="envoy")

    async def replace(self) -> None:
        """Put fresh processes in the place of those that serve, one after the other, without refusing a call."""
        for envoy in self._envoys:
            try:
                await envoy.replace()
            except Unavailable as error:
                _LOG.error("envoy is not replaced", reason=str(error))

    async def reopen_logs(self) -> None:
        """Open log files anew, after they were moved away."""
        for envoy in self._envoys:
            await envoy.reopen_logs()

    async def _follow(self, envoy: EnvoyProcess) -> None:
        async for _ in envoy.life.watch():
            self.serving.set(bool(self.pids))
