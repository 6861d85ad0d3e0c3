"""The Triton a node serves with: one of our own, or one that somebody else runs."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Mapping
from typing import Protocol

from inferno_backend.guarded import Terms, cause
from inferno_backend.node import Endpoints
from inferno_backend.ports import choose
from inferno_backend.triton import installation, process, repository, streams
from inferno_backend.triton.command import Ports, command
from inferno_backend.triton.follow import LogFollower
from inferno_backend.triton.process import Place, TritonProcess
from inferno_backend.triton.streams import Seen


class Life(Protocol):
    """A running Triton, from its start to its end."""

    @property
    def endpoints(self) -> Endpoints:
        """Where it answers."""
        ...

    @property
    def pid(self) -> int:
        """Its process id; 0 when it is not ours."""
        ...

    @property
    def has_answered(self) -> bool:
        """True when this or a former agent has seen it serve."""
        ...

    def note_answer(self) -> None:
        """Remember, also for a next agent, that it has served."""
        ...

    def streams(self) -> Seen:
        """Its streams, as far as they can be seen."""
        ...

    async def gone(self) -> None:
        """Return at once when it has ended."""
        ...

    async def ended(self) -> str:
        """Return when nothing of it is left, with the reason of its end as a sentence."""
        ...

    def kill(self) -> None:
        """End it now."""
        ...

    async def stop(self) -> None:
        """End it in order."""
        ...


class Server(Protocol):
    """Starts Tritons, one life after the other."""

    @property
    def broken(self) -> Mapping[str, str]:
        """Models that cannot be read, with the reason."""
        ...

    async def start(self) -> Life:
        """Begin a life, or take over the one that runs.

        Raises:
            InfernoError: It cannot be started.
        """
        ...

    def keep(self, model: str, *, loaded: bool) -> None:
        """Remember that a model is, or is not, to be loaded in the next life."""
        ...


class OwnLife:
    """A life of a Triton of our own, with what it says followed into our log."""

    def __init__(self, triton: TritonProcess, log: LogFollower) -> None:
        self._triton = triton
        self._log = log

    @property
    def endpoints(self) -> Endpoints:
        """Where it answers."""
        return self._triton.endpoints

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._triton.pid

    @property
    def has_answered(self) -> bool:
        """True when a file says so."""
        return self._triton.has_served()

    def note_answer(self) -> None:
        """Write the file."""
        self._triton.note_service()

    def streams(self) -> Seen:
        """Those of its Python models."""
        return streams.read(str(self._triton.facts.get("shm_prefix", "")))

    async def gone(self) -> None:
        """Follow its log until it has ended."""
        following = asyncio.create_task(self._log.run())
        try:
            await self._triton.gone()
        finally:
            following.cancel()
            self._log.read()

    async def ended(self) -> str:
        """The reason of its end."""
        status = await self._triton.ended()
        self._log.read()
        return cause(status, self._log.errors)

    def kill(self) -> None:
        """End it now."""
        self._triton.kill()

    async def stop(self) -> None:
        """End it in order."""
        await self._triton.stop()


class OwnServer:
    """Runs a Triton of our own over a model repository."""

    def __init__(
        self,
        found: installation.Installation,
        place: Place,
        models: repository.Repository,
        chosen: tuple[str, ...],
        *,
        wanted_ports: Ports,
        env: Mapping[str, str],
        leash_fd: int,
        drain_timeout: float,
    ) -> None:
        self._installation = found
        self._place = place
        self._repository = models
        self._chosen = chosen
        self._models = dict.fromkeys(chosen)
        self._wanted_ports = wanted_ports
        self._ports: Ports | None = None
        self._env = env
        self._leash_fd = leash_fd
        # Triton counts whole seconds, and looks at the clock once in each.
        self._exit_seconds = math.ceil(drain_timeout)
        self._lives = 0

    @property
    def broken(self) -> Mapping[str, str]:
        """Models that cannot be read."""
        return self._repository.broken

    def keep(self, model: str, *, loaded: bool) -> None:
        """Remember what to load in the next life."""
        if loaded:
            self._models[model] = None
        else:
            self._models.pop(model, None)

    async def start(self) -> OwnLife:
        """Adopt the running Triton in the first life, launch one otherwise."""
        self._place.folder.mkdir(parents=True, exist_ok=True)
        self._lives += 1
        backends = self._place.backends if self._installation.wheel else None
        if self._lives == 1:
            # The fingerprint is of what a first life is started with, whatever was loaded since.
            adopted = await TritonProcess.adopt(self._place, self._fingerprint())
            if adopted is not None:
                self._ports = adopted.ports
                return OwnLife(adopted, LogFollower(self._place.log, from_end=True))
        if self._installation.wheel and backends is not None:
            await asyncio.to_thread(installation.lay_out_backends, self._installation.wheel, backends)
        wanted, last = self._wanted_ports, self._ports
        before = (last.grpc, last.http, last.metrics) if last else (0, 0, 0)
        self._ports = Ports(wanted.host, *choose(wanted.host, (wanted.grpc, wanted.http, wanted.metrics), before))
        prefix = f"inferno-{secrets.token_hex(6)}-"
        made = command(
            self._installation,
            repository=self._repository.path,
            models=tuple(self._models),
            ports=self._ports,
            backends=backends,
            shm_prefix=prefix,
            exit_seconds=self._exit_seconds,
            env=self._env,
        )
        terms = Terms(self._fingerprint(), self._exit_seconds + 1.0, self._leash_fd, prefix)
        triton = await TritonProcess.launch(made, self._place, terms, self._ports)
        return OwnLife(triton, LogFollower(self._place.log))

    def _fingerprint(self) -> str:
        made = command(
            self._installation,
            repository=self._repository.path,
            models=self._chosen,
            ports=self._wanted_ports,
            backends=None,
            shm_prefix="",
            exit_seconds=self._exit_seconds,
            env={},
        )
        return process.fingerprint(made)


class AttachedLife:
    """The one life we see of a Triton that is not ours: it is neither ended by us nor does its end reach us."""

    pid = 0
    has_answered = False

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints

    def note_answer(self) -> None:
        """Nothing depends on it: it is not ours to kill."""

    def streams(self) -> Seen:
        """None: its backends are its owner's."""
        return {}

    async def gone(self) -> None:
        """Never: whether it answers is all we know."""
        await asyncio.Event().wait()

    async def ended(self) -> str:
        """As :meth:`gone`."""
        await self.gone()
        raise AssertionError("unreachable")  # pragma: no cover - gone never returns

    def kill(self) -> None:
        """Not ours to kill."""

    async def stop(self) -> None:
        """Not ours to stop."""


class AttachedServer:
    """A Triton that somebody else runs."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self.broken: Mapping[str, str] = {}

    async def start(self) -> AttachedLife:
        """Nothing is started."""
        return AttachedLife(self._endpoints)

    def keep(self, model: str, *, loaded: bool) -> None:
        """Its owner decides what a next life loads."""
