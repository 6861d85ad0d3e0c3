"""The Triton a node serves with: one of our own, or one that somebody else runs."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from inferno_backend.guarded import Terms, cause
from inferno_backend.lives import End
from inferno_backend.node import Endpoints
from inferno_backend.ports import choose
from inferno_backend.triton import installation, process, repository, streams, suspicion
from inferno_backend.triton.command import Ports, command
from inferno_backend.triton.follow import LogFollower
from inferno_backend.triton.process import Place, TritonProcess
from inferno_backend.triton.streams import Seen
from inferno_backend.triton.stubs import Stubs
from inferno_backend.triton.suspicion import Suspicion
from inferno_runtime import logs

_LOG = logs.get("triton")
# Between two looks at what the kernel has ended for lack of memory, in seconds.
_LOOK_AT_MEMORY = 10.0


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

    @property
    def loading(self) -> frozenset[str]:
        """Models that are being loaded, as far as it tells."""
        ...

    def deaths(self, ready: frozenset[str]) -> Mapping[str, str]:
        """Models of those it calls ready that have lost a process since the last look, with the cause as a sentence."""
        ...

    def loads(self, model: str) -> int | None:
        """How often it has begun to load a model; None when nobody can tell."""
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

    async def ended(self) -> End:
        """Return when nothing of it is left, with what is known of its end."""
        ...

    def kill(self, why: str = "", *, late: bool = False) -> None:
        """End it now; ``why`` completes "It was ended by its agent:". ``late``: it did not get ready in time."""
        ...

    async def stop(self) -> None:
        """End it in order."""
        ...


class Server(Protocol):
    """Starts Tritons, one life after the other."""

    @property
    def broken(self) -> Mapping[str, str]:
        """Models that cannot be loaded, with the reason."""
        ...

    @property
    def on_trial(self) -> tuple[str, ...]:
        """Models to load once the others serve, one after the other."""
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

    def blame(self, end: End) -> bool:
        """Learn from the end of a life; True when the next one is given less and may live."""
        ...


class OwnLife:
    """A life of a Triton of our own, with what it says followed into our log."""

    def __init__(self, triton: TritonProcess, log: LogFollower, served: Callable[[], None], store: str = "") -> None:
        self._store = store
        self._triton = triton
        self._log = log
        self._stubs = Stubs(triton.pid)
        self._note_service = served
        self._why = ""
        self._late = False

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

    @property
    def loading(self) -> frozenset[str]:
        """Models that are being loaded, by its log."""
        return self._log.loading

    def loads(self, model: str) -> int:
        """By its log, since this agent follows it."""
        return self._log.loads(model)

    def deaths(self, ready: frozenset[str]) -> Mapping[str, str]:
        """Those of its Python models, by the kernel. A model that is being loaded gets other processes."""
        found = self._stubs.look(ready - self._log.loading)
        starved = self._triton.starved if found else ""
        if starved:
            # What the kernel has ended now is told: it is not to blame for what ends next.
            self._triton.look_at_memory(anew=True)
        return {
            one.stub.model: cause(one.status, [], f"The process of {one.stub.instance}", starved=starved)
            for one in found
        }

    def note_answer(self) -> None:
        """Write the file."""
        self._triton.note_service()
        self._note_service()

    def streams(self) -> Seen:
        """Those of its Python models."""
        return streams.read(str(self._triton.facts.get("shm_prefix", "")))

    async def gone(self) -> None:
        """Follow its log until it has ended."""
        following = [asyncio.create_task(each) for each in (self._log.run(), self._look_at_memory())]
        try:
            await self._triton.gone()
        finally:
            for each in following:
                each.cancel()
            self._log.read()

    async def _look_at_memory(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_MEMORY)
            self._triton.look_at_memory()

    async def ended(self) -> End:
        """What its exit status, its log and the kernel say of its end."""
        status = await self._triton.ended()
        self._log.read()
        loading, errors = self._log.loading, self._log.errors
        if self._why:
            return End(f"Triton was ended by its agent: {self._why}.", loading, self._late, self._store)
        told = cause(status, errors, starved=self._triton.starved)
        if loading:
            of_them = [each.rstrip(".") for each in errors if any(name in each for name in loading)]
            said = f" It last said: {of_them[-1]}." if of_them and of_them[-1] not in told else ""
            told = f"{told.removesuffix('.')} while it loaded {', '.join(sorted(loading))}.{said}"
        return End(told, loading)

    def kill(self, why: str = "", *, late: bool = False) -> None:
        """End it now."""
        self._why, self._late = why, late
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
        chosen: tuple[str, ...] | None,
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
        self._models = dict.fromkeys(chosen or ())
        self._suspicion = Suspicion()
        self._wanted_ports = wanted_ports
        self._ports: Ports | None = None
        self._env = env
        self._leash_fd = leash_fd
        # Triton counts whole seconds, and looks at the clock once in each.
        self._exit_seconds = math.ceil(drain_timeout)
        self._lives = 0

    @property
    def broken(self) -> Mapping[str, str]:
        """Models that cannot be read, and those that are left out because they end Triton."""
        return {**self._repository.broken, **self._suspicion.held}

    @property
    def on_trial(self) -> tuple[str, ...]:
        """Those left out of which it is not known which one ends Triton."""
        return self._suspicion.trial

    def keep(self, model: str, *, loaded: bool) -> None:
        """Remember what to load in the next life."""
        self._suspicion = suspicion.acquitted(self._suspicion, model)
        if loaded:
            self._models[model] = None
        else:
            self._models.pop(model, None)

    def blame(self, end: End) -> bool:
        """Leave out of the next life what was being loaded when this one ended, and the one before.

        Where nobody has said which models there are, none can be left out.
        """
        if self._chosen is None:
            return False
        before = self._suspicion
        self._suspicion = suspicion.after_end(before, end, frozenset(self._planned))
        for name in self._suspicion.held.keys() - before.held.keys():
            _LOG.error("a model ends triton: the others go on without it", model=name, reason=self.broken[name])
        fewer = self._suspicion.held.keys() > before.held.keys()
        return fewer and bool(self._planned or self.on_trial)

    @property
    def _planned(self) -> tuple[str, ...]:
        """What the next life loads, of models with names."""
        return tuple(name for name in self._models if name not in self._suspicion.held)

    def _served(self) -> None:
        self._suspicion = suspicion.after_service(self._suspicion)

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
                return OwnLife(adopted, LogFollower(self._place.log, from_end=True), self._served)
        if self._installation.wheel and backends is not None:
            await asyncio.to_thread(installation.lay_out_backends, self._installation.wheel, backends)
        wanted, last = self._wanted_ports, self._ports
        before = (last.grpc, last.http, last.metrics) if last else (0, 0, 0)
        self._ports = Ports(wanted.host, *choose(wanted.host, (wanted.grpc, wanted.http, wanted.metrics), before))
        prefix = f"inferno-{secrets.token_hex(6)}-"
        made = command(
            self._installation,
            repository=self._repository.location,
            models=None if self._chosen is None else self._planned,
            ports=self._ports,
            backends=backends,
            shm_prefix=prefix,
            exit_seconds=self._exit_seconds,
            env=self._env,
        )
        terms = Terms(self._fingerprint(), self._exit_seconds + 1.0, self._leash_fd, prefix)
        triton = await TritonProcess.launch(made, self._place, terms, self._ports)
        return OwnLife(triton, LogFollower(self._place.log), self._served, self._repository.store)

    def _fingerprint(self) -> str:
        made = command(
            self._installation,
            repository=self._repository.location,
            models=self._chosen,
            ports=self._wanted_ports,
            backends=None,
            shm_prefix="",
            exit_seconds=self._exit_seconds,
            env={},
        )
        return process.fingerprint(made)


class AttachedLife:
    """The one life we see of a Triton that is not ours: it is not ended by us, nor does its end reach us."""

    pid = 0
    has_answered = False
    loading: frozenset[str] = frozenset()

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self._answered = False
        self._given_up = asyncio.Event()

    def loads(self, model: str) -> None:
        """Its log is its owner's."""

    def deaths(self, ready: frozenset[str]) -> Mapping[str, str]:
        """Its processes are its owner's."""
        return {}

    def note_answer(self) -> None:
        """From now on it is somebody's Triton, and silence is all we may say of it."""
        self._answered = True

    def streams(self) -> Seen:
        """None: its backends are its owner's."""
        return {}

    async def gone(self) -> None:
        """Whether it answers is all we know: only one that never has is given up."""
        await self._given_up.wait()

    async def ended(self) -> End:
        """As :meth:`gone`."""
        await self.gone()
        return End(f"No Triton answers at {self.endpoints.grpc}.", late=True, own=False)

    def kill(self, why: str = "", *, late: bool = False) -> None:
        """Not ours to kill; given up if it has never answered."""
        if not self._answered:
            self._given_up.set()

    async def stop(self) -> None:
        """Not ours to stop."""


class AttachedServer:
    """A Triton that somebody else runs."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self.broken: Mapping[str, str] = {}
        self.on_trial: tuple[str, ...] = ()

    async def start(self) -> AttachedLife:
        """Nothing is started."""
        return AttachedLife(self._endpoints)

    def keep(self, model: str, *, loaded: bool) -> None:
        """Its owner decides what a next life loads."""

    def blame(self, end: End) -> bool:
        """Nothing is ours to change."""
        return False
