"""The part of GovernanceService about decisions and drains. It translates and holds no judgement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from inferno.governance.v1 import decision_pb2 as wire
from inferno.governance.v1 import drain_pb2
from inferno_governator.caps import Caps
from inferno_governator.decisions import decision_wire as to
from inferno_governator.decisions import record
from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.entry import Entry, Kind
from inferno_governator.decisions.explanation import sentences
from inferno_governator.decisions.mode import ModeKeeper
from inferno_governator.enacting.drains import Drained, Drains
from inferno_governator.forecast.keeper import ForecastKeeper
from inferno_governator.pools.pool import Pool
from inferno_runtime.errors import InvalidInput, NotFound
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]
_LIMIT, _MOST = 50, 1000
_LONGEST_REASON, _LONGEST_NAME, _MOST_DRAINS = 200, 128, 10_000
# Entries about one decision: a few for each of its actions.
_ABOUT = 10_000


@dataclass(frozen=True, slots=True)
class Deciding:
    """The parts of a governator that decide about nodes and calls, and tell proxies what follows for them."""

    book: DecisionBook
    modes: ModeKeeper
    drains: Drains
    caps: Caps
    pools: Mapping[str, Pool]
    forecasts: ForecastKeeper


class DecisionService:
    """Mixed into the servicer."""

    _deciding: Deciding

    async def ListDecisions(self, request: wire.ListDecisionsRequest, context: Context) -> wire.ListDecisionsResponse:
        """What was decided."""
        permit(caller_of(context), Action.READ)
        limit = min(request.limit or _LIMIT, _MOST)
        book = self._deciding.book
        if request.waiting:
            waiting = sorted({each.decision for each in await book.under_way() if each.waits}, reverse=True)
            found = [await self._entry(number) for number in waiting[:limit]]
        else:
            found = await book.entries(kinds=[Kind.DECISION], before=request.before, limit=limit)
        return wire.ListDecisionsResponse(decisions=[await self._decision(each) for each in found])

    async def WatchDecisions(
        self, request: wire.WatchDecisionsRequest, context: Context
    ) -> AsyncIterator[wire.WatchDecisionsResponse]:
        """Each entry of the ledger as it is written."""
        permit(caller_of(context), Action.READ)
        book = self._deciding.book
        newest = await book.entries(limit=1)
        after = request.after or (newest[0].number if newest else 0)
        async for _ in book.last.watch():
            while found := await book.after(after):
                for each in found:
                    yield wire.WatchDecisionsResponse(entry=to.entry(each))
                after = found[-1].number
            if book.closed:
                return

    async def GetDecision(self, request: wire.GetDecisionRequest, context: Context) -> wire.GetDecisionResponse:
        """One decision, with its entries."""
        permit(caller_of(context), Action.READ)
        entry = await self._entry(request.number)
        about = await self._about(entry)
        return wire.GetDecisionResponse(decision=await self._decision(entry), entries=map(to.entry, about))

    async def ApproveDecision(
        self, request: wire.ApproveDecisionRequest, context: Context
    ) -> wire.ApproveDecisionResponse:
        """Let what waits be done."""
        caller = caller_of(context)
        permit(caller, Action.OPERATE)
        entry = await self._entry(request.number)
        waiting = [each for each in await self._deciding.book.of_decision(entry.number) if each.waits]
        if not await self._deciding.book.approve(waiting, str(caller)):
            raise NotFound(
                f"Nothing of decision {entry.number} waits for an approval.",
                reason="NOTHING_WAITS",
                fix="See what does: inferno decisions ls --waiting",
            )
        return wire.ApproveDecisionResponse(decision=await self._decision(entry))

    async def ExplainDecision(
        self, request: wire.ExplainDecisionRequest, context: Context
    ) -> wire.ExplainDecisionResponse:
        """One decision in sentences."""
        permit(caller_of(context), Action.READ)
        entry = await self._entry(request.number)
        known = record.read(entry)
        return wire.ExplainDecisionResponse(
            decision=await self._decision(entry),
            sentences=sentences(entry, known, await self._about(entry)),
            ages=dict(known.facts.ages),
        )

    async def ReplayDecisions(
        self, request: wire.ReplayDecisionsRequest, context: Context
    ) -> wire.ReplayDecisionsResponse:
        """Decide again from what was kept."""
        permit(caller_of(context), Action.READ)
        count = same = first = 0
        difference = ""
        async for entries in self._decisions(request.number):
            for each in entries:
                count += 1
                # Deciding takes milliseconds, and there may be many: others have their turn in between.
                found = await asyncio.to_thread(record.differs, each)
                same += not found
                if found and not first:
                    first, difference = each.number, found
        return wire.ReplayDecisionsResponse(
            decisions=count,
            same=same,
            first_different=first,
            difference=difference,
            integrity=to.integrity(await self._deciding.book.verify()),
        )

    async def ListLedger(
        self, request: wire.ListLedgerRequest, context: Context
    ) -> AsyncIterator[wire.ListLedgerResponse]:
        """The ledger as it is kept."""
        permit(caller_of(context), Action.READ)
        known = {each.value for each in Kind}
        if unknown := sorted(set(request.kinds) - known):
            raise InvalidInput(
                f"{unknown[0][:40]!r} is no kind of entry.",
                reason="BAD_KIND",
                fix=f"Known are {', '.join(sorted(known))}.",
            )
        kinds, after = [Kind(each) for each in request.kinds], request.after
        while found := await self._deciding.book.after(after, kinds):
            yield wire.ListLedgerResponse(entries=map(to.entry, found))
            after = found[-1].number

    async def GetMode(self, request: wire.GetModeRequest, context: Context) -> wire.GetModeResponse:
        """The mode that holds."""
        permit(caller_of(context), Action.READ)
        acting = sorted(name for name, pool in self._deciding.pools.items() if pool.act)
        return wire.GetModeResponse(mode=to.mode(await self._deciding.modes.mode()), acting_pools=acting)

    async def SetMode(self, request: wire.SetModeRequest, context: Context) -> wire.SetModeResponse:
        """Have another mode."""
        caller = caller_of(context)
        permit(caller, Action.OPERATE)
        mode = to.mode_from(request.mode)
        if mode is None:
            raise InvalidInput(
                f"{request.mode} is no mode.", reason="BAD_MODE", fix="Give MODE_OBSERVE, MODE_ADVISE or MODE_ACT."
            )
        if len(request.reason) > _LONGEST_REASON or not request.reason.isprintable():
            raise InvalidInput(
                f"The reason is not plain text of at most {_LONGEST_REASON} characters.",
                reason="BAD_REASON",
                fix="Say it shorter.",
            )
        await self._deciding.modes.mode()
        await self._deciding.modes.set(mode, str(caller), request.reason)
        return wire.SetModeResponse()

    async def ExchangeDrains(
        self, request: drain_pb2.ExchangeDrainsRequest, context: Context
    ) -> drain_pb2.ExchangeDrainsResponse:
        """Hear how far a proxy is, and tell it which nodes to take out of traffic."""
        permit(caller_of(context), Action.OPERATE)
        if not 0 < len(request.proxy_id) <= _LONGEST_NAME or len(request.nodes) > _MOST_DRAINS:
            raise InvalidInput(
                "The proxy's name is empty or too long, or it tells of too many nodes.",
                reason="BAD_DRAINS",
                fix="Name it with 1 to 128 characters, and tell only of nodes that it was told of.",
            )
        drains = self._deciding.drains
        drains.hear(
            request.proxy_id,
            {each.node_id: Drained(each.known, each.drained, each.in_flight) for each in request.nodes},
        )
        wishes = drains.wishes
        return drain_pb2.ExchangeDrainsResponse(
            known=wishes is not None,
            drains=[drain_pb2.DrainWish(node_id=each.node, reason=each.reason) for each in wishes or ()],
        )

    async def _decisions(self, number: int) -> AsyncIterator[list[Entry]]:
        if number:
            yield [await self._entry(number)]
            return
        after = 0
        while found := await self._deciding.book.after(after, [Kind.DECISION]):
            yield found
            after = found[-1].number

    async def _entry(self, number: int) -> Entry:
        found = await self._deciding.book.entries(kinds=[Kind.DECISION], before=number + 1, limit=1)
        if not found or found[0].number != number:
            raise NotFound(f"There is no decision {number}.", reason="NO_DECISION", fix="See: inferno decisions ls")
        return found[0]

    async def _about(self, entry: Entry) -> Sequence[Entry]:
        return list(reversed(await self._deciding.book.entries(decision=entry.number, limit=_ABOUT)))

    async def _decision(self, entry: Entry) -> wire.Decision:
        intents = await self._deciding.book.of_decision(entry.number)
        return to.decision(entry, record.read(entry), await self._about(entry), intents)
