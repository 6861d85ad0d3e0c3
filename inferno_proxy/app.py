"""The proxy's process: a small supervisor of the control plane and of one Envoy or several.

No child notices when another ends: each is started again at once, and traffic flows through Envoy all the while. The
kernel ends them all when this process ends, however it ends. On SIGUSR2 each is replaced by a fresh process in turn,
which is how a new version of Inferno or of Envoy comes into use.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from inferno_proxy.envoy.bootstrap import MAX_CONNECTIONS, EnvoySettings, standby_path
from inferno_proxy.envoy.instances import Doors, Envoys
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.fleet import Address
from inferno_proxy.identity.certificates import Certificates
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.control_process import ControlProcess
from inferno_proxy.supervisor.handover import HandOver, Origin
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime import hangup, lifecycle, logs, notify
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import Unavailable
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port, port_holder

_LOG = logs.get("proxy")
# Seconds. A predecessor that was killed takes its Envoys along, but for this long they may still hold the port.
_ORPHANS = 2.0


async def serve(settings: ProxySettings, stop: lifecycle.Stop, origin: Origin | None = None) -> None:
    """Run a proxy until asked to stop. A SIGHUP has the control plane read the settings again from their ``origin``.

    Raises:
        InvalidInput: The settings expose the port without protection, or the data folder's path is too long.
        Unavailable: The port is taken (by whom), another proxy has the data folder, or a child cannot start.
    """
    settings.refuse_exposure()
    settings.refuse_what_is_missing()
    layout = Layout(settings.directory())
    layout.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.directory.chmod(0o700)
    with _locked(layout.lock) as predecessor_killed:
        clock = SystemClock()
        patience = _ORPHANS if predecessor_killed else 0.0
        listen = await _listen(Address(settings.host, settings.port), "--port", clock, patience)
        doors: Doors = {listen: IdentityFolder(layout.served) if settings.tls_key else None}
        if settings.mesh is not None:
            doors[await _listen(settings.mesh, "--mesh-port", clock, patience)] = IdentityFolder(layout.identity)
        await asyncio.to_thread(Certificates(settings, layout, clock).prepare)
        hangups = hangup.count(stop)
        ours = standby_path(layout.directory, listen)
        if not HandOver.has_doors_of(layout.plan, settings):
            # It would serve without the TLS or the certificates that are asked for now.
            ours.unlink(missing_ok=True)
        HandOver(settings, listen, origin or Origin()).write(layout.plan)
        # A proxy that starts counts from nothing.
        layout.figures.unlink(missing_ok=True)
        for old in set(layout.directory.glob("standby-*")) - {ours}:
            # A proxy that has moved to another port never starts from the old port's file again.
            old.unlink()
        # Clients of a proxy that was killed are there now: its last good configuration serves them before the
        # control plane even starts. After an orderly end nobody expects answers before there is a fleet.
        resumes = predecessor_killed and settings.healing and ours.exists()
        async with ControlProcess(layout.plan, clock) as control:
            if not resumes:
                await _first(control, stop)
            if stop.requested:
                return
            envoys = Envoys(doors, _envoys(settings, layout, listen, control), clock)
            async with envoys, asyncio.TaskGroup() as group:
                keepers = [group.create_task(envoys.keep(), name="envoys")] if settings.healing else []
                if resumes:
                    await _first(control, stop)
                if settings.healing:
                    keepers.append(group.create_task(control.keep(), name="control"))
                    keepers.append(group.create_task(_replace_on_signal(envoys, control), name="replacement"))
                keepers.append(group.create_task(_pass_on(hangups, envoys, control), name="hangups"))
                _LOG.info("the proxy serves", endpoint=str(_reachable(listen)), data=str(layout.directory))
                notify.ready(
                    endpoint=str(_reachable(listen)),
                    mesh=str(settings.mesh or ""),
                    envoy_pids=envoys.pids,
                    control_pid=control.pid,
                    data_dir=str(layout.directory),
                )
                await stop.wait()
                notify.stopping()
                for keeper in keepers:
                    keeper.cancel()


def _envoys(settings: ProxySettings, layout: Layout, listen: Address, control: ControlProcess) -> list[EnvoyProcess]:
    """As many as are wanted, which share the CPUs this process may use and the connections that are allowed."""
    count = settings.envoys
    each = EnvoySettings(
        layout.directory,
        layout.control_grpc,
        listen,
        workers=max(1, len(os.sched_getaffinity(0)) // count),
        max_connections=MAX_CONNECTIONS // count,
    )
    names = [each.node_id] if count == 1 else [f"{each.node_id}-{number}" for number in range(1, count + 1)]
    return [EnvoyProcess(replace(each, node_id=name), control.ready, report=control.tell) for name in names]


async def _pass_on(hangups: Latest[int], envoys: Envoys, control: ControlProcess) -> None:
    """At each hangup log files are opened anew, which may have been moved away, and the settings are read again."""
    async for count in hangups.watch():
        if count:
            await envoys.reopen_logs()
            await control.reload()


async def _replace_on_signal(envoys: Envoys, control: ControlProcess) -> None:
    """Put fresh processes in the place of all children whenever SIGUSR2 comes, until cancelled."""
    wanted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, wanted.set)
    while True:
        await wanted.wait()
        wanted.clear()
        _LOG.info("replacing every process in turn")
        await envoys.replace()
        await control.replace()
        _LOG.info("every process is replaced", envoys=envoys.pids, control=control.pid)


async def _first(control: ControlProcess, stop: lifecycle.Stop) -> None:
    """Start the control plane and wait for its first readiness, or the wish to stop."""
    async with asyncio.TaskGroup() as group:
        first = group.create_task(control.first(), name="control-first")
        stopped = group.create_task(stop.wait(), name="stop")
        await asyncio.wait({first, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stop.requested:
            first.cancel()


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the data folder. The kernel lets go of the lock when this process ends, however it ends.

    Yields whether the one that held it last was killed: an orderly end takes its pid out of the file.

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
        file.seek(0)
        killed = bool(file.read())
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield killed
        file.truncate(0)


async def _listen(wanted: Address, option: str, clock: Clock, patience: float) -> Address:
    """The address as wanted, with a free port instead of 0.

    Raises:
        Unavailable: The port is taken, also ``patience`` seconds later; the sentence says by whom.
    """
    if wanted.port == 0:
        return Address(wanted.host, free_port(wanted.host))
    deadline = clock.monotonic() + patience
    while (holder := port_holder(wanted.host, wanted.port)) is not None:
        if clock.monotonic() >= deadline:
            raise Unavailable(
                f"Port {wanted.port} on {wanted.host} is taken by {holder}.",
                reason="PORT_IN_USE",
                fix=f"Stop it, or choose another port with {option}.",
                metadata={"port": str(wanted.port), "holder": holder},
            )
        await clock.sleep(0.02)
    return wanted


def _reachable(listen: Address) -> Address:
    """Where a client on this machine finds the port: a wildcard is no address to connect to."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
    return Address(loopback.get(listen.host, listen.host), listen.port)
