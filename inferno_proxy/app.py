"""The proxy's process: a small supervisor with two children, Envoy and the control plane.

Neither child notices when the other ends: each is started again at once, and traffic flows through Envoy all the
while. The kernel ends both when this process ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.fleet import Address
from inferno_proxy.handover import HandOver, Origin
from inferno_proxy.layout import Layout
from inferno_proxy.settings import ProxySettings
from inferno_runtime import hangup, lifecycle, logs, notify
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port, port_holder, spawn, terminate

_LOG = logs.get("proxy")
# Imports take about a second on a slow machine; without a control plane by then, Envoy tries its standby file.
_CONTROL_WITHIN = 15.0
_CONTROL_GRACE = 4.0
# A life shorter than this counts as a failed start when the next one is paced.
_STABLE = 5.0


async def serve(settings: ProxySettings, stop: lifecycle.Stop, origin: Origin | None = None) -> None:
    """Run a proxy until asked to stop. A SIGHUP has the control plane read the settings again from their ``origin``.

    Raises:
        InvalidInput: The settings expose the port without protection, or the data folder's path is too long.
        Unavailable: The port is taken (by whom), another proxy has the data folder, or a child cannot start.
    """
    settings.refuse_exposure()
    layout = Layout(settings.directory())
    layout.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.directory.chmod(0o700)
    with _locked(layout.lock):
        listen = _listen(settings)
        hangups = hangup.count(stop)
        HandOver(settings, listen, origin or Origin()).write(layout.plan)
        envoy_settings = EnvoySettings(layout.directory, layout.control_grpc, listen, workers=_workers())
        for old in set(layout.directory.glob("standby-*")) - {envoy_settings.standby_file}:
            # A proxy that has moved to another port never starts from the old port's file again.
            old.unlink()
        clock = SystemClock()
        async with _ControlPlane(layout.plan, clock) as control, _until_first(control, stop):
            if stop.requested:
                return
            async with EnvoyProcess(envoy_settings, control.ready) as envoy, asyncio.TaskGroup() as group:
                keepers = (
                    [
                        group.create_task(envoy.keep(), name="envoy"),
                        group.create_task(control.keep(), name="control"),
                    ]
                    if settings.healing
                    else []
                )
                keepers.append(group.create_task(_pass_on(hangups, control), name="hangups"))
                life = envoy.life.value
                _LOG.info("the proxy serves", endpoint=str(_reachable(listen)), data=str(layout.directory))
                notify.ready(
                    endpoint=str(_reachable(listen)),
                    envoy_pid=life.process.pid if life else 0,
                    control_pid=control.pid,
                    data_dir=str(layout.directory),
                )
                await stop.wait()
                notify.stopping()
                for keeper in keepers:
                    keeper.cancel()


class _ControlPlane:
    """The control plane's process, an async context manager. ``ready`` is true while it answers on its sockets."""

    def __init__(self, plan: Path, clock: Clock) -> None:
        self.ready: Latest[bool] = Latest(False)
        self.pid = 0
        self._plan = plan
        self._clock = clock
        self._process: asyncio.subprocess.Process
        self._notified = notify.NotifySocket()
        self._listener: asyncio.Task[None]

    async def __aenter__(self) -> _ControlPlane:
        await self._notified.__aenter__()
        await self._start()
        self._listener = asyncio.create_task(self._listen(), name="control-readiness")
        return self

    async def __aexit__(self, *error: object) -> None:
        await terminate(self._process, _CONTROL_GRACE)
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener
        await self._notified.__aexit__(None, None, None)

    async def first(self) -> None:
        """Return when the first life is ready, or slow.

        Raises:
            Unavailable: It ended instead; its own words are in the log.
        """
        process = self._process
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(process.wait(), name="control-ended")
            ready = group.create_task(self.ready.wait_for(bool), name="control-ready")
            await asyncio.wait({ended, ready}, timeout=_CONTROL_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            ready.cancel()
        if process.returncode is not None:
            raise Unavailable(
                f"The control plane ended with status {process.returncode} before it was ready.",
                reason="CONTROL_PLANE_FAILED",
                fix="Read what it wrote before this.",
            )

    async def keep(self) -> None:
        """Start the control plane again whenever it ends, until cancelled."""
        backoff = Backoff(0.05, 5.0)
        while True:
            born = self._clock.monotonic()
            status = await self._process.wait()
            self.ready.set(False)
            _LOG.error("the control plane ended; starting it again", pid=self.pid, status=status)
            if self._clock.monotonic() - born >= _STABLE:
                backoff.reset()
            else:
                await self._clock.sleep(backoff.next())
            await self._start()

    async def reload(self) -> None:
        """Have it read its settings again, as soon as it is ready."""
        await self.ready.wait_for(bool)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGHUP)

    async def _start(self) -> None:
        self._process = await spawn(
            [sys.executable, "-m", "inferno_proxy.control_plane", str(self._plan)],
            env={**os.environ, "NOTIFY_SOCKET": self._notified.path},
            # It keeps nothing that an orderly end would save, and its successor must find the sockets free.
            die_with_parent=signal.SIGKILL,
            new_group=True,
        )
        self.pid = self._process.pid

    async def _listen(self) -> None:
        while True:
            pid, fields = await self._notified.receive()
            if pid == self.pid and fields.get("READY") == "1":
                self.ready.set(True)


async def _pass_on(hangups: Latest[int], control: _ControlPlane) -> None:
    async for count in hangups.watch():
        if count:
            await control.reload()


@asynccontextmanager
async def _until_first(control: _ControlPlane, stop: lifecycle.Stop) -> AsyncIterator[None]:
    """Wait for the control plane's first readiness, or the wish to stop."""
    async with asyncio.TaskGroup() as group:
        first = group.create_task(control.first(), name="control-first")
        stopped = group.create_task(stop.wait(), name="stop")
        await asyncio.wait({first, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stop.requested:
            first.cancel()
    yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the data folder. The kernel lets go of the lock when this process ends, however it ends.

    Raises:
        Unavailable: Another proxy holds it; its pid is named.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Unavailable(
                f"Another proxy (pid {file.read().strip() or 'unknown'}) uses the data folder {path.parent}.",
                reason="ALREADY_RUNNING",
                fix="Stop it, or choose another folder with --data-dir.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def _listen(settings: ProxySettings) -> Address:
    """The public address.

    Raises:
        Unavailable: The port is taken; the sentence says by whom.
    """
    if settings.port == 0:
        return Address(settings.host, free_port(settings.host))
    holder = port_holder(settings.host, settings.port)
    if holder is not None:
        raise Unavailable(
            f"Port {settings.port} on {settings.host} is taken by {holder}.",
            reason="PORT_TAKEN",
            fix="Stop it, or choose another port with --port (0 picks a free one).",
            metadata={"port": str(settings.port), "holder": holder},
        )
    return Address(settings.host, settings.port)


def _reachable(listen: Address) -> Address:
    """Where a client on this machine finds the port: a wildcard is no address to connect to."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
    return Address(loopback.get(listen.host, listen.host), listen.port)


def _workers() -> int:
    """Envoy's worker threads: the CPUs this process may use."""
    return max(1, len(os.sched_getaffinity(0)))
