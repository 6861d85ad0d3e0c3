"""The part of GovernanceService that explains what things cost. It translates and holds no judgement."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from inferno.governance.v1 import report_pb2 as wire
from inferno_governator import cost_wire, item_wire
from inferno_governator.costing import explain, listed
from inferno_governator.store.store import Store
from inferno_runtime.clock import Clock
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]


class CostService:
    """Mixed into the servicer, which holds the store and the clock."""

    _store: Store
    _clock: Clock

    async def ExplainCost(self, request: wire.ExplainCostRequest, context: Context) -> wire.ExplainCostResponse:
        """A bill, broken down, and why it changed."""
        permit(caller_of(context), Action.READ)
        question = cost_wire.decode_question(request, self._clock.wall())
        return cost_wire.encode(await explain(self._store, question))

    async def ListCostItems(
        self, request: wire.ListCostItemsRequest, context: Context
    ) -> AsyncIterator[wire.ListCostItemsResponse]:
        """What a bill is made of, in pieces."""
        permit(caller_of(context), Action.READ)
        over = cost_wire.decode_period(request.period, self._clock.wall())
        where = cost_wire.decode_filters(request.filters)
        async for items in listed(self._store, over, where, hourly=request.hourly):
            yield item_wire.encode(items)
