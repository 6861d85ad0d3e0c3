"""The control plane's process, kept alive: a death, or a silence, is followed by a new life at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

from inferno_proxy.supervisor.act import Act
from inferno_proxy.supervisor.healing import fate, line
from inferno_proxy.supervisor.watchdog import SIGN_EVERY, Watch
from inferno_runtime import logs, notify
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.process import cpu_seconds, spawn, terminate

_LOG = logs.get("proxy")
# Seconds. Imports take about one on a slow machine; without a control plane by then, Envoy tries its standby file.
_WITHIN = 15.0
_GRACE = 4.0
# A life shorter than this counts as a failed start when the next one is paced.
_STABLE = 5.0
SUBJECT = "control-plane"


class ControlProcess:
    """An async context manager around the control plane's process, which :meth:`first` starts.

    ``ready`` is true while it answers on its sockets. ``plan`` is the file it starts from.
    """

    def __init__(self, plan: Path, clock: Clock) -> None:
        self.ready: Latest[bool] = Latest(False)
        self.pid = 0
        self._plan = plan
        self._clock = clock
        self._process: asyncio.subprocess.Process
        self._watch: Watch
        self._asked = False
        self._hung = ""
        # What is to be told once it serves again; until then, ``seconds`` is the moment the trouble began.
        self._outage: tuple[Act, float] | None = None  # and since when
        # One pair for all lives: what a life that ends has not read, the next one does.
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._notified = notify.NotifySocket()
        self._listener: asyncio.Task[None]

    async def __aenter__(self) -> ControlProcess:
        await self._notified.__aenter__()
        self._listener = asyncio.create_task(self._listen(), name="control-readiness")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.pid:
            await terminate(self._process, _GRACE)
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener
        await self._notified.__aexit__(None, None, None)
        self._ours.close()
        self._theirs.close()

    async def first(self) -> None:
        """Start the first life; return when it is ready, or slow.

        Raises:
            Unavailable: It ended instead; its own words are in the log.
        """
        process = await self._start()
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(process.wait(), name="control-ended")
            ready = group.create_task(self.ready.wait_for(bool), name="control-ready")
            await asyncio.wait({ended, ready}, timeout=_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            ready.cancel()
        if process.returncode is not None:
            raise Unavailable(
                f"The control plane ended with status {process.returncode} before it was ready.",
                reason="CONTROL_PLANE_FAILED",
                fix="Read what it wrote before this.",
            )

    async def keep(self) -> None:
        """Start the control plane again whenever it ends, and end it when it hangs, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._revive(), name="control-lives")
            group.create_task(self._look(), name="control-watchdog")

    async def replace(self) -> None:
        """Let the control plane end in order; a fresh one follows while :meth:`keep` runs. Returns when it is ready."""
        self._asked = True
        await terminate(self._process, _GRACE)
        await self.ready.wait_for(lambda ready: not ready)
        await self.ready.wait_for(bool)

    async def reload(self) -> None:
        """Have it read its settings again, as soon as it is ready."""
        await self.ready.wait_for(bool)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGHUP)

    def tell(self, act: Act) -> None:
        """Tell the control plane what was healed, so that whoever watches the mesh learns of it."""
        try:
            self._ours.send(line(act))
        except BlockingIOError as error:
            # It is away, with a thousand lines unread.
            _LOG.warning("an act of healing is only in this log", kind=act.kind, reason=error.strerror)

    async def _revive(self) -> None:
        backoff = Backoff(0.05, 5.0)
        while True:
            born = self._clock.monotonic()
            status = await self._process.wait()
            died = self._clock.monotonic()
            self.ready.set(False)
            asked, self._asked = self._asked, False
            if not asked:
                _LOG.error("the control plane ended; starting it again", pid=self.pid, status=status)
                self._note(status, born, died)
            if died - born >= _STABLE:
                backoff.reset()
            elif not asked:
                await self._clock.sleep(backoff.next())
            await self._start()

    def _note(self, status: int, born: float, died: float) -> None:
        hung, self._hung = self._hung, ""
        if self._outage is None:
            act = Act(
                "CONTROL_PLANE_RESTARTED",
                SUBJECT,
                cause=f"The control plane {'hung' if hung else fate(status)}",
                evidence=hung or f"process {self.pid} is gone {died - born:.0f} s after its start",
                effect="",
            )
            self._outage = act, self._watch.sign if hung else died

    async def _start(self) -> asyncio.subprocess.Process:
        inherited = self._theirs.fileno()
        self._process = await spawn(
            [sys.executable, "-m", "inferno_proxy.control_plane", str(self._plan), str(inherited)],
            env={**os.environ, "NOTIFY_SOCKET": self._notified.path},
            # It keeps nothing that an orderly end would save, and its successor must find the sockets free.
            die_with_parent=signal.SIGKILL,
            pass_fds=(inherited,),
            new_group=True,
        )
        now = self._clock.monotonic()
        self._watch = Watch(now, now, 0.0)
        self.pid = self._process.pid
        return self._process

    async def _look(self) -> None:
        """Kill a control plane that hangs; its end does the rest."""
        while True:
            await self._clock.sleep(SIGN_EVERY / 2)
            now, cpu = self._clock.monotonic(), cpu_seconds(self.pid)
            self._watch = self._watch.looked(now, cpu)
            if self._watch.hangs(now, cpu) and self._process.returncode is None:
                silence = now - self._watch.sign
                self._hung = f"no sign of life from process {self.pid} for {silence:.1f} s"
                _LOG.error("the control plane hangs; ending it", pid=self.pid, silent=round(silence, 1))
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()

    async def _listen(self) -> None:
        while True:
            pid, fields = await self._notified.receive()
            if pid != self.pid:
                continue
            self._watch = self._watch.signed(self._clock.monotonic(), cpu_seconds(pid))
            if fields.get("READY") == "1":
                self.ready.set(True)
                outage, self._outage = self._outage, None
                if outage is not None:
                    act, since = outage
                    effect = f"process {pid} took its place; the data plane kept what it had"
                    self.tell(replace(act, effect=effect, seconds=self._clock.monotonic() - since))
