"""The ledger and the intents of one governator. What a method has returned of is on disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from inferno_governator.decisions.entry import Draft, Entry, Kind
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent, node_name
from inferno_governator.decisions.proposal import Proposal, Verb
from inferno_governator.store import intents, ledger
from inferno_governator.store.ledger import Integrity
from inferno_governator.store.store import Store
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_MICROS = 1_000_000


class DecisionBook:
    """Writes and reads. ``last`` is the number of the newest entry that this process has written.

    Every method raises Unavailable when the store cannot be used now; nothing is written then.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.last = Latest(0)
        self.closed = False

    def close(self) -> None:
        """Let whoever follows :attr:`last` look at :attr:`closed`, and go."""
        self.closed = True
        self.last.set(-1)

    async def decide(
        self, draft: Draft, acted_on: Sequence[Proposal], *, waits: bool, real: Collection[str]
    ) -> tuple[Entry, list[Intent]]:
        """Write a decision, and an intent for each proposal that is acted on, in one transaction. Intents of pools that
        are not among ``real`` are rehearsed."""
        now = self._now()
        async with self._store.writing() as connection:
            (entry,) = await ledger.append(connection, [draft], now)
            first = await intents.next_number(connection)
            made = [
                _intent(each, entry, first + place, place, waits=waits, rehearsed=each.pool not in real, now=now)
                for place, each in enumerate(acted_on)
            ]
            await intents.write(connection, made)
        self.last.set(entry.number)
        return entry, made

    async def note(self, draft: Draft) -> Entry:
        """Write an entry alone."""
        async with self._store.writing() as connection:
            (entry,) = await ledger.append(connection, [draft], self._now())
        self.last.set(entry.number)
        return entry

    async def advance(self, before: Intent, after: Intent, **more: Any) -> Intent | None:
        """Write what has become of an intent, and say so in the ledger, in one transaction. None, and nothing is
        written, when another governator has changed it meanwhile."""
        content = {
            "intent": after.number,
            "verb": after.verb.value,
            "pool": after.pool,
            "node": after.node,
            "outcome": after.outcome.value,
            "calls": after.calls,
            "rehearsed": after.rehearsed,
            "sentence": after.sentence,
            **more,
        }
        return await self._change(before, after, Draft(Kind.OUTCOME, content, after.decision))

    async def approve(self, waiting: Sequence[Intent], by: str) -> list[Intent]:
        """Let intents of one decision that wait be carried out."""
        now = self._now()
        approved: list[Intent] = []
        async with self._store.writing() as connection:
            for each in waiting:
                after = replace(each, waits=False, sentence=f"Approved by {by}.", begun_micros=now)
                if await intents.change(connection, each, after):
                    approved.append(after)
            if approved:
                content = {"intents": [each.number for each in approved]}
                (entry,) = await ledger.append(
                    connection, [Draft(Kind.APPROVAL, content, approved[0].decision, by)], now
                )
        if approved:
            self.last.set(entry.number)
        return approved

    async def measured(self, intent: Intent, content: dict[str, Any]) -> Intent | None:
        """Write what an intent has saved."""
        after = replace(intent, measured_micros=self._now())
        return await self._change(intent, after, Draft(Kind.SAVING, content, intent.decision))

    async def recent(self, seconds: float) -> list[Intent]:
        """Intents under way, and those that ended within so many seconds."""
        async with self._store.reading() as connection:
            return await intents.since(connection, self._now() - int(seconds * _MICROS))

    async def under_way(self) -> list[Intent]:
        """Intents that have not ended."""
        return [each for each in await self.recent(0) if not each.ended_micros]

    async def of_decision(self, decision: int) -> list[Intent]:
        """The intents of a decision."""
        async with self._store.reading() as connection:
            return await intents.of_decision(connection, decision)

    async def unmeasured(self, ended_before_micros: int) -> list[Intent]:
        """Intents that are done, ended before a time and are not measured yet."""
        async with self._store.reading() as connection:
            return await intents.unmeasured(connection, ended_before_micros)

    async def entries(
        self, *, kinds: Collection[Kind] = (), decision: int = 0, before: int = 0, limit: int = 1000
    ) -> list[Entry]:
        """Entries, the newest first (:func:`inferno_governator.store.ledger.read`)."""
        async with self._store.reading() as connection:
            return await ledger.read(connection, kinds=kinds, decision=decision, before=before, limit=limit)

    async def after(self, number: int, kinds: Collection[Kind] = ()) -> list[Entry]:
        """The entries above a number, at most some hundreds, the oldest first; none when there are none."""
        async with self._store.reading() as connection:
            async for piece in ledger.follow(connection, number, kinds):
                return piece
        return []

    async def verify(self) -> Integrity:
        """Whether the chain holds."""
        async with self._store.reading() as connection:
            return await ledger.verify(connection)

    async def _change(self, before: Intent, after: Intent, draft: Draft) -> Intent | None:
        async with self._store.writing() as connection:
            if not await intents.change(connection, before, after):
                return None
            (entry,) = await ledger.append(connection, [draft], self._now())
        self.last.set(entry.number)
        return after

    def _now(self) -> int:
        return int(self._clock.wall() * _MICROS)


def _intent(
    proposal: Proposal, entry: Entry, number: int, place: int, *, waits: bool, rehearsed: bool, now: int
) -> Intent:
    starts = proposal.verb is Verb.START
    return Intent(
        number,
        entry.number,
        proposal.verb,
        proposal.reason,
        proposal.pool,
        node_name(proposal.pool, entry.hash, place) if starts else proposal.node,
        proposal.instead_of,
        proposal.saves_micros_per_hour,
        waits=waits,
        rehearsed=rehearsed,
        outcome=Outcome.INTENDED,
        sentence=proposal.sentence,
        begun_micros=now,
    )
