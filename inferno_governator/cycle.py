"""The tick: look at the fleet, decide, write it down, and carry out what the mode allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.entry import Draft, Kind
from inferno_governator.decisions.fleet import FleetFacts
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.mode import Mode, ModeKeeper
from inferno_governator.decisions.proposal import Proposal
from inferno_governator.decisions.record import Record, decided
from inferno_governator.enacting.enactor import Enactor, Listing
from inferno_governator.policies.deciding import DecidingSettings
from inferno_governator.pools.pool import Pool
from inferno_governator.store.turn import Turn
from inferno_runtime import logs
from inferno_runtime.clock import Clock

_LOG = logs.get("cycle")
_MICROS = 1_000_000
# Seconds of what was done that a decision may depend on.
HISTORY = 7200.0

Look = Callable[[Listing, list[Intent]], Awaitable[FleetFacts]]
Measure = Callable[[], Awaitable[None]]


class Cycle:
    """Ticks. ``look`` says what the fleet is like, ``measure`` what past decisions have saved."""

    def __init__(
        self,
        book: DecisionBook,
        enactor: Enactor,
        modes: ModeKeeper,
        pools: Mapping[str, Pool],
        settings: DecidingSettings,
        look: Look,
        measure: Measure,
        clock: Clock,
    ) -> None:
        self._book = book
        self._enactor = enactor
        self._modes = modes
        self._pools = pools
        self._settings = settings
        self._look = look
        self._measure = measure
        self._clock = clock
        # What the last decision that was written had found, and the last failure.
        self._signature: tuple[tuple[str, ...], ...] = ()
        self._failure = ""

    async def run(self, every: float, turn: Turn) -> None:
        """Tick, for ever; a tick that fails is written down, and the next one goes on. While another governator of the
        database has the turn, this one does nothing, and takes over when that one ends."""
        mine: bool | None = None
        async with turn, self._enactor.calls:
            while True:
                try:
                    before, mine = mine, await turn.mine()
                    if mine is not before:
                        _LOG.info("this governator decides" if mine else "another governator of the database decides")
                    if mine:
                        await self.tick()
                    self._failure = ""
                except Exception as error:  # noqa: BLE001 - whatever it is, the fleet is looked at again
                    await self._failed(error)
                await self._clock.sleep(every)

    async def tick(self) -> Record:
        """Once; the enactor's calls have been entered.

        Raises:
            Unavailable: The store cannot be used now.
        """
        mode = await self._modes.mode()
        listing = await self._enactor.listing()
        recent = await self._book.recent(HISTORY)
        facts = await self._look(listing, recent)
        acted = [each for each in recent if not each.waits]
        record = decided(mode, facts, self._settings, [each.action for each in acted])
        await self._write(record, [each for each in recent if not each.ended_micros])
        await self._enactor.act(record.facts, listing)
        await self._measure()
        return record

    async def _write(self, record: Record, under_way: list[Intent]) -> None:
        allowed = [each.proposal for each in record.rulings if each.allowed]
        news = record.signature != self._signature
        match record.mode:
            case Mode.OBSERVE:
                new: list[Proposal] = []
                await self._withdraw(under_way, "The mode is observe.")
            case Mode.ADVISE:
                waiting = [each for each in under_way if each.waits]
                new, stale = unmatched(allowed, waiting)
                await self._withdraw(stale, "It is not proposed any more.")
            case Mode.ACT:
                await self._withdraw([each for each in under_way if each.waits], "The mode is act.")
                real = {name for name, pool in self._pools.items() if pool.act}
                new = [each for each in allowed if news or each.pool in real]
        if not new and not (news and record.rulings):
            self._signature = record.signature
            return
        waits = record.mode is Mode.ADVISE
        acting = {name for name, pool in self._pools.items() if pool.act}
        entry, _ = await self._book.decide(Draft(Kind.DECISION, record.content(), None), new, waits=waits, real=acting)
        self._signature = record.signature
        for each in record.rulings:
            _LOG.info(
                f"{record.mode.value}: {each.proposal.verb.value} {each.proposal.node or each.proposal.pool}",
                decision=entry.number,
                reason=each.proposal.reason.value,
                why=each.proposal.sentence,
                **({} if each.allowed else {"forbidden": each.sentence}),
            )

    async def _withdraw(self, intents: list[Intent], why: str) -> None:
        """End what no provider was asked for yet."""
        now = int(self._clock.wall() * _MICROS)
        for each in intents:
            if not each.calls:
                gone = replace(each, waits=False, outcome=Outcome.WITHDRAWN, sentence=why, ended_micros=now)
                await self._book.advance(each, gone)

    async def _failed(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        _LOG.error("nothing is decided now", error=said)
        if said == self._failure:
            return
        self._failure = said
        try:
            await self._book.note(Draft(Kind.FAILURE, {"error": said}))
        except Exception as again:  # noqa: BLE001 - the store is away as well: the log has it
            _LOG.error("it cannot be written down either", error=str(again))


def unmatched(proposals: list[Proposal], waiting: list[Intent]) -> tuple[list[Proposal], list[Intent]]:
    """What is proposed and does not wait yet, and what waits and is not proposed any more.

    A start waits for any node of its pool with its reason, a stop for its own node.
    """
    left = list(waiting)
    new: list[Proposal] = []
    for each in proposals:
        match = next((one for one in left if _same(each, one)), None)
        if match is None:
            new.append(each)
        else:
            left.remove(match)
    return new, left


def _same(proposal: Proposal, intent: Intent) -> bool:
    keys = (proposal.verb, proposal.pool, proposal.reason, proposal.instead_of)
    same = keys == (intent.verb, intent.pool, intent.reason, intent.instead_of)
    return same and proposal.node in ("", intent.node)
