"""The calls of GovernanceService about plans. They translate and hold no judgement."""

from __future__ import annotations

from typing import Any

import grpc

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import plan_pb2
from inferno_governator.plan import plan_wire
from inferno_governator.plan.planner import Planner
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]


class PlanService:
    """Mixed into the servicer, which holds the planner."""

    _planner: Planner

    async def Plan(self, request: wire.PlanRequest, context: Context) -> wire.PlanResponse:
        """The cheapest fleet."""
        permit(caller_of(context), Action.READ)
        filled, found, seconds = await self._planner.plan(plan_wire.decode(request.question))
        return wire.PlanResponse(plan=plan_wire.encode(found, filled.days, filled.notes, seconds))

    async def ComparePlans(self, request: wire.ComparePlansRequest, context: Context) -> wire.ComparePlansResponse:
        """Fleets within each cloud or region."""
        permit(caller_of(context), Action.READ)
        filled, rows = await self._planner.compare(plan_wire.decode(request.question), by_region=request.by_region)
        return wire.ComparePlansResponse(rows=[plan_wire.encode_row(each, filled.days, filled.notes) for each in rows])

    async def PlanCapacity(self, request: wire.PlanCapacityRequest, context: Context) -> wire.PlanCapacityResponse:
        """What growth needs."""
        permit(caller_of(context), Action.READ)
        grows = request.growth
        filled, months = await self._planner.grow(
            plan_wire.decode(request.question), grows.percent_a_month, grows.months, grows.coverage, grows.days
        )
        return wire.PlanCapacityResponse(
            months=[
                plan_pb2.PlanMonth(
                    month=each.month,
                    expected_requests_per_second=each.demand.middle,
                    low_requests_per_second=each.demand.low,
                    high_requests_per_second=each.demand.high,
                    plan=plan_wire.encode(each.plan, filled.days, filled.notes, 0.0) if each.plan else None,
                    changes=[
                        plan_pb2.PlannedChange(offer=plan_wire.offer(machine), count=count)
                        for machine, count in each.changes
                    ],
                    refusal=each.refusal,
                )
                for each in months
            ]
        )
