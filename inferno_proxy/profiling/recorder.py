"""One recording at a time: of the control plane itself, or of a local Envoy over its admin socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inferno_proxy.envoy import admin
from inferno_proxy.profiling.sampler import collapsed, sample
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted, Unavailable

_SHORTEST, _LONGEST = 0.1, 60.0


class Recorder:
    """``folder`` holds the Envoys' admin sockets. Times are cut to what is allowed."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._under_way = False

    async def control_plane(self, seconds: float) -> bytes:
        """Collapsed stacks of this process.

        Raises:
            Exhausted: Another recording is under way.
        """
        with self._alone():
            stop = threading.Event()
            sampling = asyncio.create_task(asyncio.to_thread(sample, stop), name="profile")
            try:
                await self._clock.sleep(_bounded(seconds))
            finally:
                stop.set()
                seen = await sampling
            return collapsed(seen)

    async def envoy_allocations(self, seconds: float) -> bytes:
        """What an Envoy allocates, as its build's allocator writes it (pprof).

        Raises:
            Exhausted: Another recording is under way.
            Unavailable: No Envoy answers, or its build cannot do it.
        """
        with self._alone():
            socket = self._socket()
            await self._ask(socket, "/allocprofiler?enable=y", "POST")
            try:
                await self._clock.sleep(_bounded(seconds))
            finally:
                profile = await self._ask(socket, "/allocprofiler?enable=n", "POST")
            return profile

    async def envoy_heap(self) -> bytes:
        """What an Envoy holds in memory (pprof).

        Raises:
            Exhausted: Another recording is under way.
            Unavailable: No Envoy answers, or its build cannot do it.
        """
        with self._alone():
            return await self._ask(self._socket(), "/heap_dump", "GET")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._under_way:
            raise Exhausted(
                "Another profile is being recorded.", reason="PROFILE_UNDER_WAY", fix="Try again when it is done."
            )
        self._under_way = True
        try:
            yield
        finally:
            self._under_way = False

    def _socket(self) -> Path:
        # The highest number is the youngest life; an older one may be on its way out.
        sockets = sorted(self._folder.glob("*-admin-*.sock"), key=lambda path: path.stat().st_mtime)
        if not sockets:
            raise Unavailable("No local Envoy runs.", reason="NO_ENVOY", fix="Look at the proxy's log.")
        return sockets[-1]

    async def _ask(self, socket: Path, path: str, method: str) -> bytes:
        status, body = await admin.fetch(socket, path, method=method, within=10.0)
        if status != 200:
            raise Unavailable(
                f"Envoy does not record: {body.decode(errors='replace').strip()}.", reason="ENVOY_PROFILE_FAILED"
            )
        return body


def _bounded(seconds: float) -> float:
    return min(max(seconds, _SHORTEST), _LONGEST)
