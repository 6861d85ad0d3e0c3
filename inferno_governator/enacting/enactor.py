"""Carries intents out, one step of each at a time: what is about to be done is on disk before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.fleet import FleetFacts, NodeState
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Verb
from inferno_governator.enacting.calls import Calls
from inferno_governator.enacting.drains import Drains, Wish
from inferno_governator.enacting.steps import SETTLE, Do, Seen, Step, Terms, next_step
from inferno_governator.enacting.validity import invalid
from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Machine, Provider
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted, InfernoError

_LOG = logs.get("enactor")
_MICROS = 1_000_000
# Times the boot of a pool, and seconds beside it, after which a node that serves nothing has failed.
_BOOT_TIMES, _BOOT_MORE = 3.0, 300.0
_CALL_SECONDS = 120.0
_ENDS = {Do.DONE: Outcome.DONE, Do.FAIL: Outcome.FAILED, Do.WITHDRAW: Outcome.WITHDRAWN}


@dataclass(frozen=True, slots=True)
class Listing:
    """What providers list: machines by node, and of which pools all are listed."""

    machines: Mapping[str, Machine]
    pools: frozenset[str]


class Enactor:
    """Carries out what lies in the book, through the providers by name. ``settle`` is that of :class:`Terms`; what
    takes time goes on in ``calls``, which whoever lets it act has entered."""

    def __init__(
        self,
        book: DecisionBook,
        pools: Mapping[str, Pool],
        providers: Mapping[str, Provider],
        drains: Drains,
        clock: Clock,
        settle: float = SETTLE,
    ) -> None:
        self._book = book
        self._pools = pools
        self._providers = providers
        self._drains = drains
        self._clock = clock
        self._settle = settle
        self.calls = Calls()
        # Since when this process has seen an intent as it is, by a clock that does not jump.
        self._since: dict[tuple[int, Outcome, int, bool], float] = {}

    async def listing(self) -> Listing:
        """What the providers list now; a pool whose provider does not answer is left out."""
        machines: dict[str, Machine] = {}
        pools: set[str] = set()
        for name in sorted({each.provider for each in self._pools.values()}):
            provider = self._providers.get(name)
            if provider is None:
                continue
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    found = await provider.nodes()
            except (InfernoError, TimeoutError) as error:
                _LOG.warning("a provider does not list its machines", provider=name, error=str(error))
                continue
            machines.update((each.node, each) for each in found)
            pools.update(pool.name for pool in self._pools.values() if pool.provider == name)
        return Listing(machines, frozenset(pools))

    async def act(self, facts: FleetFacts, listing: Listing) -> None:
        """One step of every intent that is under way, except those that a provider is being asked for.

        Raises:
            Unavailable: The store cannot be used now; nothing more is done.
            Exception: What broke a call off since the last time; the others go on.
        """
        # Before the intents are read: what a call writes after this is not known here, and waits for the next look.
        busy = self.calls.intents
        intents = await self._book.under_way()
        self._forget({_seen_as(each) for each in intents})
        self._wish(intents)
        for intent in intents:
            if intent.number in busy:
                continue
            seen = self._see(intent, facts, listing)
            step = next_step(intent, seen, self._terms(intent))
            if step.do is not Do.WAIT:
                await self._do(intent, step)
        self._wish(await self._book.under_way())
        self.calls.raise_failure()

    async def _do(self, intent: Intent, step: Step) -> None:
        pool = self._pools.get(intent.pool)
        if step.do in _ENDS:
            await self._end(intent, _ENDS[step.do], step.sentence)
        elif pool is None:
            await self._end(intent, Outcome.WITHDRAWN, f"There is no pool {intent.pool} any more.")
        elif intent.rehearsed:
            self.calls.begin(intent.number, partial(self._rehearse, intent, pool))
        elif step.do is Do.DRAIN:
            await self._write(intent, replace(intent, outcome=Outcome.DRAINING, sentence=step.sentence))
        elif step.do is Do.CALLED:
            await self._write(intent, replace(intent, outcome=Outcome.CALLED, sentence=step.sentence))
        elif step.do is Do.CALL:
            await self._call(intent, pool)

    async def _call(self, intent: Intent, pool: Pool) -> None:
        # On disk before the call: whoever comes after a crash knows that there may have been one.
        calling = replace(
            intent,
            calls=intent.calls + 1,
            called_micros=int(self._clock.wall() * _MICROS),
            sentence=f"Asking {pool.provider} to {intent.verb.value} it.",
        )
        written = await self._write(intent, calling)
        if written is not None:
            self.calls.begin(intent.number, partial(self._ask, written, pool))

    async def _ask(self, intent: Intent, pool: Pool) -> None:
        provider = self._providers[pool.provider]
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                if intent.verb is Verb.START:
                    await provider.start(intent.node, pool)
                else:
                    await provider.stop(intent.node)
        except (InfernoError, TimeoutError) as error:
            await self._refused(intent, error)
        else:
            said = f"{pool.provider} has accepted it."
            await self._write(intent, replace(intent, outcome=Outcome.CALLED, sentence=said))

    async def _refused(self, intent: Intent, error: InfernoError | TimeoutError) -> None:
        said = error.sentence() if isinstance(error, InfernoError) else f"No answer within {_CALL_SECONDS:g} s."
        unknown = isinstance(error, TimeoutError) or (error.temporary and not isinstance(error, Exhausted))
        if unknown or (intent.verb is Verb.STOP and isinstance(error, Exhausted)):
            # Whether it took place, the provider's list will tell.
            await self._write(intent, replace(intent, sentence=said))
        else:
            await self._end(intent, Outcome.FAILED, said)

    async def _rehearse(self, intent: Intent, pool: Pool) -> None:
        """Do all that changes nothing."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                said = await self._providers[pool.provider].check()
        except (InfernoError, TimeoutError) as error:
            why = error.sentence() if isinstance(error, InfernoError) else "No answer in time."
            await self._end(intent, Outcome.FAILED, f"Rehearsed: {why}")
        else:
            await self._end(intent, Outcome.DONE, f"Rehearsed, not done: pool {pool.name} does not act. {said}")

    async def _end(self, intent: Intent, outcome: Outcome, sentence: str) -> None:
        ended = int(self._clock.wall() * _MICROS)
        await self._write(intent, replace(intent, outcome=outcome, sentence=sentence, ended_micros=ended))

    async def _write(self, before: Intent, after: Intent) -> Intent | None:
        written = await self._book.advance(before, after)
        if written is not None:
            _LOG.info(
                f"{after.verb.value} {after.outcome.value}",
                node=after.node,
                pool=after.pool,
                decision=after.decision,
                said=after.sentence,
            )
        return written

    def _see(self, intent: Intent, facts: FleetFacts, listing: Listing) -> Seen:
        node = next((each for each in facts.nodes if each.node == intent.node), None)
        progress = self._drains.progress(intent.node)
        since = self._since.setdefault(_seen_as(intent), self._clock.monotonic())
        return Seen(
            listed=intent.pool in listing.pools or intent.pool not in self._pools,
            machine=listing.machines.get(intent.node),
            serving=node is not None and node.state is NodeState.SERVING,
            empty=progress.empty,
            pending=progress.pending,
            invalid=invalid(intent, facts),
            waited=self._clock.monotonic() - since,
        )

    def _terms(self, intent: Intent) -> Terms:
        pool = self._pools.get(intent.pool)
        if pool is None:
            return Terms(settle=self._settle)
        boot = pool.boot_seconds * _BOOT_TIMES + _BOOT_MORE
        return Terms(self._settle, boot, pool.drain_seconds, interruptible=pool.interruptible)

    def _wish(self, intents: Sequence[Intent]) -> None:
        stops = [each for each in intents if each.verb is Verb.STOP and not each.waits and not each.rehearsed]
        # A node that is being stopped stays out of traffic until its machine is gone.
        held = [each for each in stops if each.outcome in (Outcome.DRAINING, Outcome.CALLED)]
        self._drains.set(Wish(each.node, f"decision {each.decision}: {each.reason.value}") for each in held)

    def _forget(self, present: set[tuple[int, Outcome, int, bool]]) -> None:
        self._since = {key: at for key, at in self._since.items() if key in present}


def _seen_as(intent: Intent) -> tuple[int, Outcome, int, bool]:
    return intent.number, intent.outcome, intent.calls, intent.waits
