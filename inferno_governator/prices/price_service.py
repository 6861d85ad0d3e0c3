"""The calls of GovernanceService about prices. They translate and hold no judgement."""

from __future__ import annotations

from typing import Any

import grpc

from inferno.governance.v1 import price_pb2 as wire
from inferno_governator.prices import price_wire, table
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.prices.refreshing import refresh, sources
from inferno_governator.prices.rules import aged
from inferno_governator.prices.taking import Taken
from inferno_runtime.errors import InvalidInput, NotFound
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]
_PAGE, _MOST_PAGE = 500, 1_000
_MOST_CSV = 3_000_000


class PriceCalls:
    """Part of the servicer; ``prices`` keeps them."""

    def __init__(self, prices: PriceKeeper) -> None:
        self._prices = prices

    async def ListPrices(self, request: wire.ListPricesRequest, context: Context) -> wire.ListPricesResponse:
        """What machines cost."""
        permit(caller_of(context), Action.READ)
        keeper = self._prices
        prices = price_wire.listed(keeper.book, keeper.minute(), keeper.today(), keeper.rules)
        fit = sorted(filter(price_wire.chosen(request), prices), key=price_wire.order)
        size = min(request.page_size or _PAGE, _MOST_PAGE)
        at = _offset(request.page_token)
        following = str(at + size) if at + size < len(fit) else ""
        return wire.ListPricesResponse(prices=fit[at : at + size], next_page_token=following, total_size=len(fit))

    async def ListPriceHistory(
        self, request: wire.ListPriceHistoryRequest, context: Context
    ) -> wire.ListPriceHistoryResponse:
        """What one offer cost when."""
        permit(caller_of(context), Action.READ)
        keeper = self._prices
        key = price_wire.key(request.offer)
        found = await keeper.history(key)
        if not found:
            raise NotFound(
                f"No price of {key} is known.", reason="NO_OFFER", fix="inferno price ls shows what is known."
            )
        entry = keeper.book.entry(key)
        current = entry.at(keeper.minute()) if entry else None
        return wire.ListPriceHistoryResponse(
            prices=[
                price_wire.encode(
                    each.quote,
                    price_wire.waiting(each, current, keeper.rules)
                    if each.waits and each.replaced_micros is None
                    else aged(each.quote, keeper.today(), keeper.rules),
                    each,
                )
                for each in found
            ]
        )

    async def ListNodePrices(
        self, request: wire.ListNodePricesRequest, context: Context
    ) -> wire.ListNodePricesResponse:
        """What nodes cost, and why."""
        permit(caller_of(context), Action.READ)
        nodes, commitments = await self._prices.nodes()
        return wire.ListNodePricesResponse(
            nodes=[
                wire.NodePrice(
                    node_id=each.node,
                    price_micros_per_hour=each.priced.micros,
                    origin=each.priced.origin.value,
                    reason=each.priced.reason,
                    running=each.running,
                )
                for each in nodes
            ],
            commitments=[
                wire.CommitmentUse(
                    name=use.commitment.name,
                    price_micros_per_hour=use.commitment.micros,
                    used_micros_per_hour=use.used_micros,
                    unused_micros_per_hour=use.unused_micros,
                    node_ids=use.nodes,
                )
                for use in commitments
            ],
        )

    async def SetPrice(self, request: wire.SetPriceRequest, context: Context) -> wire.SetPriceResponse:
        """Set one price, from now on or for the past."""
        permit(caller_of(context), Action.OPERATE)
        keeper = self._prices
        quote = price_wire.named(request, keeper.book, keeper.today())
        if not request.HasField("start"):
            if request.HasField("end"):
                raise InvalidInput("An end needs a start.", reason="BAD_PERIOD", fix="Give a start, or no end.")
            (made,) = await keeper.take([quote], confirmed=request.confirm)
            return wire.SetPriceResponse(outcome=price_wire.outcome(made))
        end = price_wire.minute_of(request.end) if request.HasField("end") else None
        rebilled = await keeper.correct(quote, price_wire.minute_of(request.start), end)
        verdict = aged(quote, keeper.today(), keeper.rules)
        corrected = wire.PriceOutcome(price=price_wire.encode(quote, verdict), taken=Taken.CHANGED.value)
        return wire.SetPriceResponse(outcome=corrected, rebilled_nodes=rebilled)

    async def ImportPrices(self, request: wire.ImportPricesRequest, context: Context) -> wire.ImportPricesResponse:
        """Take a table of prices in."""
        permit(caller_of(context), Action.OPERATE)
        if len(request.csv) > _MOST_CSV:
            raise InvalidInput(
                f"The table has more than {_MOST_CSV} characters.",
                reason="TABLE_TOO_LARGE",
                fix="Import it in pieces, each with the line that names the columns.",
            )
        read = table.read(request.csv)
        outcomes = await self._prices.take([row.quote for row in read.rows], confirmed=request.confirm)
        told = [wire.PriceOutcome(line=bad.line, taken="refused", reason=bad.sentence) for bad in read.bad]
        told += [
            price_wire.outcome(made, row.line)
            for row, made in zip(read.rows, outcomes, strict=True)
            if made.taken in _TOLD
        ]
        told.sort(key=lambda each: each.line)
        return wire.ImportPricesResponse(
            counts=price_wire.counts(outcomes, len(read.bad)), outcomes=told[: price_wire.MOST_OUTCOMES]
        )

    async def RefreshPrices(self, request: wire.RefreshPricesRequest, context: Context) -> wire.RefreshPricesResponse:
        """Ask sources for live prices."""
        permit(caller_of(context), Action.OPERATE)
        done = await refresh(
            self._prices,
            sources(self._prices.addresses),
            request.sources,
            request.clouds,
            confirmed=request.confirm,
        )
        return wire.RefreshPricesResponse(
            sources=[
                wire.RefreshedSource(
                    source=each.source,
                    counts=price_wire.counts(each.outcomes),
                    outcomes=[price_wire.outcome(made) for made in each.outcomes if made.taken in _TOLD][
                        : price_wire.MOST_OUTCOMES
                    ],
                    error=each.error,
                )
                for each in done
            ]
        )


_TOLD = frozenset({Taken.CHANGED, Taken.WAITS, Taken.REFUSED})


def _offset(token: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) < 10):
        raise InvalidInput(
            f"{token[:40]!r} is no page token of ListPrices.", reason="BAD_PAGE", fix="Use next_page_token as it came."
        )
    return int(token)
