"""The part of GovernanceService that simulates. It translates, gathers what a question names, and judges nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from inferno.governance.v1 import simulation_pb2 as wire
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.simulation import recording, simulation_wire
from inferno_governator.simulation.alternatives import compare
from inferno_governator.simulation.trace import RateTrace
from inferno_governator.store.store import Store
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Exhausted, InvalidInput
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]


class SimulateService:
    """Mixed into the servicer, which holds the store, the clock and the prices."""

    _store: Store
    _clock: Clock
    _prices: PriceKeeper
    _simulating: bool = False

    async def Simulate(self, request: wire.SimulateRequest, context: Context) -> wire.SimulateResponse:
        """What demand would have cost on other fleets."""
        # It changes nothing, but takes the processor for seconds: not for every node of the mesh to ask.
        permit(caller_of(context), Action.OPERATE)
        if self._simulating:
            raise Exhausted(
                "Another simulation runs.", reason="SIMULATING", fix="Ask again when it is done.", retry_after=5.0
            )
        self._simulating = True
        try:
            chosen = simulation_wire.alternatives(request, await self._known(request))
            trace = await self._demand(request)
            # numpy and Python in turns: the loop gets the interpreter every few milliseconds.
            outcomes = await asyncio.to_thread(compare, trace, chosen, request.seed)
        finally:
            self._simulating = False
        return simulation_wire.encode(trace, outcomes)

    async def _demand(self, request: wire.SimulateRequest) -> RateTrace:
        which = request.WhichOneof("demand")
        if which == "rates":
            return simulation_wire.rates(request.rates)
        if which != "recorded" or not request.recorded.model:
            raise InvalidInput(
                "Neither recorded demand of a model nor rates are given.",
                reason="NO_DEMAND",
                fix="Give recorded.model, or rates.",
            )
        over = simulation_wire.recorded_period(request.recorded, self._clock.wall())
        model = request.recorded.model
        async with self._store.moment() as moment:
            minutes = await moment.demand(model, over.start_minute, over.end_minute)
        return recording.trace(model, over, minutes)

    async def _known(self, request: wire.SimulateRequest) -> simulation_wire.Known:
        curves = {}
        for node in sorted(simulation_wire.named_nodes(request)):
            curve = simulation_wire.measured(await self._store.capacities(node, request.recorded.model))
            if curve:
                curves[node] = curve
        priced = (await self._prices.nodes())[0] if curves else []
        prices = {each.node: each.priced.micros for each in priced}
        return simulation_wire.Known(curves, prices, self._prices.book, self._prices.minute())
