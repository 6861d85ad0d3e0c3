"""Nodes as processes of this machine: each an ``inferno backend`` under a guard of its own.

They outlive a governator that restarts. What the next one knows of them lies in a folder, one folder a node:

- ``lock`` is held by the process and by nothing else, from before its first instruction to its end: whether a node
  runs is asked of the kernel, and a governator that was killed between two steps neither loses one nor starts it twice.
- ``node.json`` is written before the process starts, ``process.json`` by the guard once it runs and when it ends.
- ``stopping`` says that the end is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic

from inferno_governator.pools.pool import Pool
from inferno_governator.providers.options import Options, read
from inferno_governator.providers.provider import TAG_POOL, Machine, MachineState
from inferno_runtime import guard, remains
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput, TimedOut, Unavailable

# As the settings of a node name it.
LEASH_VARIABLE = "INFERNO_BACKEND_LEASH_FD"
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Seconds a node has for what it runs; an agent drains for five and ends its model server in as many.
_GRACE = 20.0
# Beyond that, for the guard to clear up.
_SWEEP = 10.0
_POLL_SECONDS = 0.05
_KEPT_LOGS = 20
_MICROS = 1_000_000


class LocalOptions(Options):
    """What a pool tells this provider."""

    model_repository: str = pydantic.Field("", description="Models, as for inferno backend.")
    discovery_lb: str = pydantic.Field("", description="Proxies to register with, as for inferno backend.")
    config: str = pydantic.Field("", description="Settings file of its nodes; its section backend is read.")
    arguments: str = pydantic.Field("", description="Further arguments of inferno backend, as in a shell.")
    command: str = pydantic.Field(
        "", description="Another program, as in a shell; {node} and {folder} stand for the node's name and folder."
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything of one node lies."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held while the process lives."""
        return self.folder / "lock"

    @property
    def facts(self) -> Path:
        """What it was started as."""
        return self.folder / "node.json"

    @property
    def status(self) -> Path:
        """What the guard says."""
        return self.folder / "process.json"

    @property
    def stopping(self) -> Path:
        """There once its end was asked for."""
        return self.folder / "stopping"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "node.log"


@dataclass(frozen=True, slots=True)
class Terms:
    """How nodes run.

    Attributes:
        folder: Where their folders lie.
        leash_fd: Descriptor whose end ends them all; negative for none.
        grace: Seconds between being asked to end and being killed.
        env: The environment they get.
    """

    folder: Path
    leash_fd: int = -1
    grace: float = _GRACE
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


class Local:
    """Starts and stops processes. Two governators on one folder see the same nodes."""

    name = "local"

    def __init__(self, pools: Sequence[Pool], terms: Terms, clock: Clock) -> None:
        self._pools = pools
        self._terms = terms
        self._clock = clock

    async def check(self) -> str:
        """As :meth:`inferno_governator.providers.provider.Provider.check`."""
        for pool in self._pools:
            program = command(pool, "node", self._terms.folder)[0]
            if shutil.which(program, path=self._terms.env.get("PATH")) is None:
                raise InvalidInput(
                    f"Pool {pool.name!r}: {program} is no program that can be started.",
                    reason="BAD_POOL",
                    fix="Give its whole path, or check that it is installed.",
                )
        with self._alone():
            return f"Processes of user {os.getuid()} on this machine, in {self._terms.folder}."

    async def start(self, node: str, pool: Pool) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.start`."""
        place = self._place(node)
        argv = command(pool, node, place.folder)
        if not pool.act:
            return
        with self._alone():
            if place.status.exists() or (place.lock.exists() and _held(place)):
                # One name, one process: also when it has ended by itself.
                return
            self._spawn(place, node, pool, argv)

    async def stop(self, node: str) -> None:
        """As :meth:`inferno_governator.providers.provider.Provider.stop`. Returns when nothing of it is left.

        Raises:
            TimedOut: It cannot be ended: the kernel does not let go of it.
        """
        if not _NODE.fullmatch(node):
            return
        place = self._place(node)
        with self._alone():
            if not place.facts.exists():
                return
            place.stopping.touch()
        await self._finish(place, self._terms.grace + _SWEEP)

    async def end(self, within: float) -> Sequence[str]:
        """End every node, whoever started it, in so many seconds; returns those that had to be killed.

        Raises:
            TimedOut: One cannot be ended.
        """
        places = [self._place(each.node) for each in await self.nodes()]
        for place in places:
            place.stopping.touch()
        async with asyncio.TaskGroup() as tasks:
            killed = {place: tasks.create_task(self._finish(place, within)) for place in places}
        return [place.folder.name for place, task in killed.items() if task.result()]

    async def _finish(self, place: Place, within: float) -> bool:
        """End a node and forget it; True when it had to be killed."""
        killed = not await self._ended(place, within, ask=True)
        if killed:
            pid = self._guard_of(place)
            await remains.end(remains.family(pid) if pid is not None else [], 0.0)
            if not await self._ended(place, _SWEEP):
                raise TimedOut(
                    f"The process of node {place.folder.name} does not end, though it was killed.",
                    reason="STOP_TIMED_OUT",
                    fix=f"See {place.log}, and what holds the process in the kernel.",
                )
        with self._alone():
            self._forget(place)
        return killed

    async def nodes(self) -> Sequence[Machine]:
        """As :meth:`inferno_governator.providers.provider.Provider.nodes`."""
        with self._alone():
            found = [_machine(Place(file.parent)) for file in sorted(self._terms.folder.glob("*/node.json"))]
        return [each for each in found if each is not None]

    def log(self, node: str) -> Path:
        """The log of a node that was not stopped."""
        return self._place(node).log

    def _place(self, node: str) -> Place:
        if not _NODE.fullmatch(node):
            raise InvalidInput(
                f"{node[:140]!r} cannot be the name of a node.",
                reason="BAD_NODE",
                fix="Use letters, digits, '.', '_' and '-', at most 128.",
            )
        return Place(self._terms.folder / node)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else looks at the locks of nodes meanwhile; held for moments only."""
        try:
            self._terms.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self._terms.folder / "lock").open("a")
        except OSError as error:
            raise Unavailable(
                f"The folder of local nodes {self._terms.folder} cannot be used: {error.strerror}.",
                reason="BAD_DATA_DIR",
                fix="Give a folder you may write with local_dir.",
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _spawn(self, place: Place, node: str, pool: Pool, argv: Sequence[str]) -> None:
        shutil.rmtree(place.folder, ignore_errors=True)
        place.folder.mkdir(mode=0o700)
        facts = {"node": node, "pool": pool.name, "born_at": self._clock.wall(), "zone": pool.zone or pool.region}
        terms = self._terms
        leash = ("--leash-fd", str(terms.leash_fd)) if terms.leash_fd >= 0 else ()
        guarded = [sys.executable, "-m", "inferno_runtime.guard", "--grace", str(terms.grace), *leash]
        # Who was told by these that a component is ready would take a node for it.
        env = {name: value for name, value in terms.env.items() if name not in {"NOTIFY_SOCKET", "INVOCATION_ID"}}
        try:
            _write(place.facts, facts)
            with place.lock.open("a") as lock, place.log.open("ab") as log, _pipe() as (ends, held):
                fcntl.flock(lock, fcntl.LOCK_EX)
                # The lock is the child's from the fork on: it ends with the last descriptor of it. So does the pipe,
                # which a model server's own guard watches: should guard and agent be killed at once, it ends too.
                child = subprocess.Popen(
                    [*guarded, "--status-file", str(place.status), "--", *argv],
                    env={**env, LEASH_VARIABLE: str(ends)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock.fileno(), ends, held, *((terms.leash_fd,) if terms.leash_fd >= 0 else ())),
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(place.folder, ignore_errors=True)
            raise Unavailable(
                f"The process of node {node} cannot be started: {error.strerror}.",
                reason="SPAWN_FAILED",
                fix="Check that this machine has processes, memory and room on the disk left.",
            ) from error
        # It is ours until we end, and collected when it ends before, so that no zombie stays.
        threading.Thread(target=child.wait, name=f"node-{node}", daemon=True).start()

    async def _ended(self, place: Place, within: float, *, ask: bool = False) -> bool:
        """Wait until the process is gone; ``ask`` its guard to end it once it is known."""
        until = self._clock.monotonic() + within
        while self._runs(place):
            pid = self._guard_of(place)
            if ask and pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                ask = False
            if self._clock.monotonic() >= until:
                return False
            await self._clock.sleep(_POLL_SECONDS)
        return True

    def _runs(self, place: Place) -> bool:
        with self._alone():
            return _held(place)

    def _guard_of(self, place: Place) -> int | None:
        """The process id of the guard while it lives."""
        found = _read(place.status).get("guard", {})
        pid, started = found.get("pid"), found.get("start")
        return pid if isinstance(pid, int) and isinstance(started, int) and guard.alive(pid, started) else None

    def _forget(self, place: Place) -> None:
        """Remove what is left of a node that has ended; of the last ones, the log stays."""
        remains.sweep(place.folder)
        logs = self._terms.folder / "logs"
        logs.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            place.log.replace(logs / f"{place.folder.name}.log")
        for old in sorted(logs.iterdir(), key=lambda file: file.stat().st_mtime)[:-_KEPT_LOGS]:
            old.unlink(missing_ok=True)
        shutil.rmtree(place.folder, ignore_errors=True)


def command(pool: Pool, node: str, folder: Path) -> list[str]:
    """The command line of a node.

    Raises:
        InvalidInput: The pool's options cannot be understood.
    """
    options = read(pool, LocalOptions)
    try:
        given, further = shlex.split(options.command), shlex.split(options.arguments)
    except ValueError as error:
        raise InvalidInput(
            f"Pool {pool.name!r}: command or arguments cannot be split into words: {error}.",
            reason="BAD_POOL",
            fix="Quote them as in a shell.",
        ) from error
    if given:
        return [word.replace("{node}", node).replace("{folder}", str(folder)) for word in given]
    asked = {
        "--config": options.config,
        "--node-id": node,
        "--data-dir": str(folder / "data"),
        "--discovery-lb": options.discovery_lb,
        "--model-repository": options.model_repository,
        "--model": ",".join(pool.models),
        "--region": pool.region,
        "--zone": pool.zone,
        "--instance-type": pool.instance_type,
        "--price-per-hour": str(Decimal(pool.micros_per_hour) / _MICROS) if pool.micros_per_hour else "",
        "--labels": f"{TAG_POOL}={pool.name}",
    }
    words = [word for name, value in asked.items() if value for word in (name, value)]
    spot = ["--spot"] if pool.spot else []
    return [str(Path(sys.executable).with_name("inferno-backend")), *words, *spot, *further]


def _machine(place: Place) -> Machine | None:
    """What is known of a node; None where a governator ended before it started a process."""
    facts, status = _read(place.facts), _read(place.status)
    why = ""
    if _held(place):
        state = MachineState.RUNNING if status else MachineState.PENDING
        if place.stopping.exists():
            state = MachineState.STOPPING
    elif not status:
        return None
    else:
        state, why = MachineState.STOPPED, _end(status)
    return Machine(
        node=str(facts.get("node", place.folder.name)),
        pool=str(facts.get("pool", "")),
        state=state,
        born_at=float(facts.get("born_at", 0.0)),
        machine=str(status.get("child", {}).get("pid", "")),
        zone=str(facts.get("zone", "")),
        why=why,
    )


def _end(status: Mapping[str, Any]) -> str:
    code = status.get("exit")
    if code is None:
        return "Its process was killed together with its guard."
    return f"Its process was killed by signal {-code}." if code < 0 else f"Its process ended with status {code}."


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends, held = os.pipe()
    try:
        yield ends, held
    finally:
        os.close(ends)
        os.close(held)


def _held(place: Place) -> bool:
    """True while the process of a node lives."""
    try:
        with place.lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _write(file: Path, facts: Mapping[str, object]) -> None:
    draft = file.with_name(file.name + ".new")
    draft.write_text(json.dumps(facts), encoding="utf-8")
    draft.replace(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
