"""Keeps a Triton serving, and says at every moment what it can do: the owner of the node's state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from inferno_backend import work
from inferno_backend.liveness import Patience, Probe, Pulse, feel
from inferno_backend.lives import Ends
from inferno_backend.meter import Reading
from inferno_backend.node import Model, ModelState, NodeState, Revised
from inferno_backend.response_cache import ResponseCache
from inferno_backend.revival import Revival
from inferno_backend.start import Rhythm, first_answer, first_version
from inferno_backend.tally import Tally
from inferno_backend.triton import metrics_page
from inferno_backend.triton.client import TritonClient, models_of
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_backend.triton.server import Life, Server
from inferno_backend.triton.streams import Seen
from inferno_backend.verdict import Facts, state_of
from inferno_runtime import logs
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.process import is_stopped

_LOG = logs.get("supervisor")


class Supervisor:
    """Starts Triton, watches it, starts it again. ``state`` is the node's state with its revision."""

    def __init__(
        self,
        server: Server,
        clock: Clock,
        *,
        healing: bool,
        patience: Patience,
        rhythm: Rhythm,
        cache: ResponseCache | None = None,
        gpus: tuple[str, ...] = (),
    ) -> None:
        self.state = Latest(Revised(0, NodeState()))
        self.tally = Tally()
        self._server = server
        self._clock = clock
        self._healing = healing
        self._rhythm = rhythm
        self._cache = cache
        self._revival = Revival(clock, every=rhythm.index, steady=rhythm.steady, tell=self._mourn)
        self._facts = Facts(gpus=gpus)
        self._work = work.begin(patience)
        self._patience = patience
        self._configs: dict[str, Model] = {}
        self._looking = asyncio.Lock()
        self._client: TritonClient | None = None
        self._metrics = ""
        self._life: Life | None = None
        self._stopping = asyncio.Event()
        self._ends = Ends()
        self._failed_at: dict[str, float] = {}
        self._backoff = Backoff(0.1, 30.0)

    @property
    def triton_pid(self) -> int:
        """Triton's process id; 0 when it is not ours or not running."""
        return self._life.pid if self._life else 0

    async def run(self, first_reading: Callable[[], Awaitable[object]]) -> None:
        """Keep a Triton running until :meth:`stop`.

        Args:
            first_reading: Reads the counters; awaited before a Triton is offered, so that no request is missed.

        Raises:
            InfernoError: The first one cannot be started.
        """
        while not self._stopping.is_set():
            try:
                life = self._life = await self._start()
            except InfernoError as error:
                if not self._facts.answered:
                    raise
                self._know(down=f"Triton cannot be started: {error.message}")
                _LOG.error("triton cannot be started", error=error.message)
                await self._clock.sleep(self._backoff.next())
                continue
            began = self._clock.monotonic()
            await self._session(life, first_reading)
            end = await life.ended()
            self._life = None
            if self._stopping.is_set():
                return
            now = self._clock.monotonic()
            steady = now - began > self._rhythm.steady
            self._ends = self._ends.after(now, steady=steady)
            fewer = self._server.blame(end)
            if not self._facts.answered and not fewer and (refusal := self._ends.refusal(end, self._rhythm.start)):
                raise refusal
            if not self._healing:
                await asyncio.Event().wait()
            if steady:
                self._backoff.reset()
            delay = self._backoff.next()
            told = self._ends.told(end.cause, now, self._clock.wall() + delay)
            self._know(down=told)
            _LOG.warning("triton is started again", cause=told, after_seconds=round(delay, 2))
            self.tally.restarts += 1
            await self._clock.sleep(delay)

    async def _start(self) -> Life:
        life = await self._server.start()
        if self._stopping.is_set():
            await life.stop()
        return life

    async def stop(self) -> None:
        """End Triton, if it is ours, and :meth:`run` with it."""
        self._stopping.set()
        if self._life is not None:
            await self._life.stop()

    def kill(self) -> None:
        """End Triton at once, if it is ours."""
        if self._life is not None:
            self._life.kill()

    def drain(self, reason: str) -> int:
        """Say that no new work is wanted (an empty reason: that it is wanted again); return the revision saying so."""
        self.tally.drains += bool(reason) and not self._facts.draining
        self._know(draining=reason)
        return self.state.value.revision

    def reclaim(self, reason: str) -> None:
        """Say why the machine goes away soon, so that no new work is wanted; an empty reason: it stays."""
        self._know(reclaimed=reason)

    def shut(self, reason: str) -> None:
        """Say why nobody reaches this node; an empty reason: the mesh does."""
        self._know(shut=reason)

    def expire(self, reason: str) -> None:
        """Say why its peers let no new connection pass; an empty reason: they do."""
        self._know(expired=reason)

    def examined(self, faulty: Mapping[str, str]) -> None:
        """Say which GPUs can do no work, by UUID, with the reason."""
        self._know(faulty=faulty if self._healing else {})

    async def counters(self) -> Mapping[Key, Counters]:
        """Triton's counters now.

        Raises:
            InfernoError: It does not answer.
        """
        if self._metrics:
            return metrics_page.parse(await metrics_page.fetch(self._metrics, self._rhythm.page))
        return await self._connected().statistics()

    def streams(self) -> Seen:
        """The streams of its models now, as far as they can be seen."""
        return self._life.streams() if self._life else {}

    def take(self, reading: Reading) -> None:
        """Judge from a reading whether every model's work moves."""
        decoupled = {model.name for model in self._facts.models if model.decoupled}
        self._work = work.take(self._work, reading, decoupled)
        stalled = self._work.stalled(reading.at) if self._healing else {}
        for name in stalled.keys() - self._facts.stalled.keys():
            self.tally.stalls += 1
            _LOG.warning("a model's work does not move: it is withdrawn", model=name, reason=stalled[name])
        # The sentence counts seconds; it is kept as first said, so that it makes no revision each time.
        self._know(stalled={name: self._facts.stalled.get(name, reason) for name, reason in stalled.items()})

    def withdraw(self, model: str) -> int:
        """Let the mesh send a model no more work; return the revision saying so."""
        self._know(withdrawn=self._facts.withdrawn | {model})
        return self.state.value.revision

    async def load(self, model: str) -> None:
        """Load a model and offer it; load it anew when it is loaded, while it goes on serving.

        Raises:
            InfernoError: Triton's own reason why not. What was loaded before serves on.
        """
        client = self._connected()
        try:
            await self._load(client, model, serving=model in self._ready())
        except InfernoError as error:
            await self._note_load(client, model, error.message.splitlines()[0])
            raise
        self._server.keep(model, loaded=True)
        self._revival.forget(model)
        uncached = {name: reason for name, reason in self._facts.uncached.items() if name != model}
        if self._cache is not None and (reason := await self._cache.switch_on(client, model)):
            uncached[model] = reason
        self._know(withdrawn=self._facts.withdrawn - {model}, uncached=uncached)
        await self._note_load(client, model, "")

    async def _note_load(self, client: TritonClient, model: str, failure: str) -> None:
        """Tell that a load has ended, with what Triton says of the model then."""
        with suppress(InfernoError):
            await self._look(client)
        others = {name: why for name, why in self._facts.failures.items() if name != model}
        loads = {**self._facts.loads, model: self._facts.loads.get(model, 0) + 1}
        if failure:
            self._failed_at[model] = self._clock.monotonic()
        self._know(loads=loads, failures={**others, model: failure} if failure else others)

    def _forget_failures(self) -> None:
        """Tell no longer of models that were asked for a while ago, and that there are not."""
        since = self._clock.monotonic() - self._rhythm.configs
        over = {name for name, at in self._failed_at.items() if at < since}
        over -= {one.name for one in self._facts.models}
        if over:
            self._failed_at = {name: at for name, at in self._failed_at.items() if name not in over}
            self._know(failures={name: why for name, why in self._facts.failures.items() if name not in over})

    async def _load(self, client: TritonClient, model: str, *, serving: bool) -> None:
        life, begun = self._life, self._life.loads(model) if self._life else None
        await client.load(model)
        # What a model has read at its start may have changed without its files.
        if serving and life is not None and begun is not None and life.loads(model) == begun:
            await client.load_again(model)

    async def unload(self, model: str) -> None:
        """Unload a model that was withdrawn.

        Raises:
            InfernoError: Triton's own reason why not; the model is offered again.
        """
        client = self._connected()
        self._revival.forget(model)
        try:
            await client.unload(model)
            self._server.keep(model, loaded=False)
            # Triton finishes what runs after it has answered.
            while any(one.ready for one in await self._look(client) if one.name == model):
                await self._clock.sleep(self._rhythm.index)
        finally:
            self._know(withdrawn=self._facts.withdrawn - {model})

    def _connected(self) -> TritonClient:
        if self._client is None:
            raise Unavailable("Triton is not running now.", reason="NO_TRITON", fix="Try again in a few seconds.")
        return self._client

    def _mourn(self, dead: Mapping[str, str]) -> None:
        """Tell which models' processes have died, and count those that just have."""
        new = dead.keys() - self._facts.dead.keys()
        losses = {**self._facts.losses, **{name: self._facts.losses.get(name, 0) + 1 for name in new}}
        self._know(dead=dead, losses=losses)

    def _know(self, **changes: object) -> None:
        """Change facts and publish what they amount to."""
        self._facts = replace(self._facts, **changes)  # type: ignore[arg-type]
        new, old = state_of(self._facts), self.state.value
        if not self._facts.answered or new == old.state:
            return
        if new.condition is not old.state.condition:
            _LOG.info("node", condition=new.condition.value, reason=new.reason)
        self.state.set(Revised(old.revision + 1, new))

    async def _session(self, life: Life, first_reading: Callable[[], Awaitable[object]]) -> None:
        """Watch one life of Triton until it ends."""
        self._configs.clear()
        self._know(failures={})
        self._work = work.begin(self._patience)
        async with TritonClient(life.endpoints.grpc) as client, asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(client, life, first_reading))
            await life.gone()
            self._client = None
            if self._healing and not self._stopping.is_set():
                self._know(down="Triton has ended.", stalled={})
            watching.cancel()

    async def _watch(self, client: TritonClient, life: Life, first_reading: Callable[[], Awaitable[object]]) -> None:
        fresh = not life.has_answered
        await first_answer(client, life, self._clock, self._rhythm)
        if self._cache is not None:
            await self._first_models(client)
            self._know(uncached=await self._cache.begin(client, self._facts.models, fresh=fresh))
        life.note_answer()
        version = await first_version(client, self._clock, self._rhythm)
        await self._first_models(client)
        self._client = client
        self._metrics = life.endpoints.metrics
        await first_reading()
        self._know(endpoints=life.endpoints, server_version=version, answered=True, down="")
        _LOG.info("triton serves", grpc=life.endpoints.grpc, version=version, models=_names(self._facts.models))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_models(client))
            group.create_task(self._probe(client, life))
            group.create_task(self._try_suspects())
            if self._healing:
                group.create_task(self._revival.run(client, life, self._ready))

    def _ready(self) -> frozenset[str]:
        """Models that Triton calls ready, less those that are about to be unloaded."""
        return frozenset(one.name for one in self._facts.models if one.ready) - self._facts.withdrawn

    async def _try_suspects(self) -> None:
        """Load what was left out because one of it ends Triton, one after the other: the others serve by now."""
        for model in self._server.on_trial:
            try:
                await self.load(model)
            except InfernoError as error:
                _LOG.error("a model that was left out cannot be loaded", model=model, reason=error.message)

    async def _first_models(self, client: TritonClient) -> None:
        while True:
            try:
                await self._look(client)
                return
            except InfernoError as error:
                _LOG.debug("no index", error=error.message)
                await self._clock.sleep(self._rhythm.index)

    async def _look(self, client: TritonClient, *, again: bool = False) -> tuple[Model, ...]:
        """Ask for the models and tell them; read the configuration of those that became ready (``again``: of all).

        One look at a time: what an earlier one saw must not be told after what a later one saw.
        """
        async with self._looking:
            rows = await client.index()
            ready = {row.name for row in rows if row.state == ModelState.READY}
            self._configs = {name: config for name, config in self._configs.items() if name in ready}
            for name in sorted(ready if again else ready - self._configs.keys()):
                try:
                    self._configs[name] = await client.config(name)
                except InfernoError as error:
                    _LOG.debug("no configuration", model=name, error=error.message)
            models = models_of(rows, self._configs, self._server.broken)
            self._tell_failures(models)
            self._know(models=models)
            return models

    async def _follow_models(self, client: TritonClient) -> None:
        read_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._rhythm.index)
            self._forget_failures()
            # A reload that began and ended between two looks may have changed a configuration.
            again = self._clock.monotonic() - read_at > self._rhythm.configs
            read_at = self._clock.monotonic() if again else read_at
            try:
                await self._look(client, again=again)
            except InfernoError as error:
                _LOG.debug("no index", error=error.message)

    def _tell_failures(self, models: tuple[Model, ...]) -> None:
        before = {one for model in self._facts.models for one in model.versions}
        for model in models:
            for one in model.versions:
                if one not in before and one.state is ModelState.UNAVAILABLE and one.reason != "unloaded":
                    _LOG.warning("a model cannot serve", model=model.name, version=one.version, reason=one.reason)

    async def _probe(self, client: TritonClient, life: Life) -> None:
        """Ask again and again whether it answers; withdraw it when it does not, kill it when it stays silent."""
        pulse, allowed = Pulse(), self._rhythm.answer
        while True:
            model = next((one.name for one in self._facts.models if one.ready), "")
            asked = self._clock.monotonic()
            answered = await client.answers(model, allowed)
            now = self._clock.monotonic()
            self.tally.answered += answered
            self.tally.unanswered += not answered
            pulse = feel(pulse, Probe(now, answered, now - asked, allowed))
            # A server that is told to end stops answering before it is gone.
            if self._healing and not self._stopping.is_set():
                self._know(down=f"Triton does not answer on {client.address}." if pulse.failed else "")
                # A proxyless client's calls hang with a stopped server until its connections end.
                patience = self._rhythm.stopped if is_stopped(life.pid) else self._rhythm.silent
                if pulse.silent_for(now) > patience:
                    _LOG.error("triton has been silent too long: it is killed", seconds=round(pulse.silent_for(now)))
                    life.kill(f"it had not answered for {pulse.silent_for(now):.0f} s")
            await self._clock.sleep(self._rhythm.probe if answered else 0.02)


def _names(models: tuple[Model, ...]) -> str:
    return ", ".join(one.name for one in models if one.ready)
