"""The calls of GovernanceService about budgets. They translate and hold no judgement."""

from __future__ import annotations

from typing import Any

import grpc

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno_governator.budgets import budget_wire
from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.budgets.standing import binding, chain
from inferno_runtime.identity.caller import caller_of
from inferno_runtime.identity.permission import Action, permit

Context = grpc.aio.ServicerContext[Any, Any]


class BudgetService:
    """Mixed into the servicer, which holds the budgets."""

    _budgets: BudgetKeeper

    async def ListBudgets(self, request: wire.ListBudgetsRequest, context: Context) -> wire.ListBudgetsResponse:
        """How budgets stand."""
        permit(caller_of(context), Action.READ)
        every = await self._budgets.standings()
        shown, binds = every, None
        if request.HasField("scope"):
            scope = budget_wire.decode_scope(request.scope)
            shown, binds = chain(scope, every), binding(scope, every)
        return wire.ListBudgetsResponse(
            budgets=[
                budget_wire.encode(one, every, in_settings=self._budgets.is_settled(one.budget.name)) for one in shown
            ],
            binding=binds.budget.name if binds else "",
        )

    async def SetBudget(self, request: wire.SetBudgetRequest, context: Context) -> wire.SetBudgetResponse:
        """Keep a budget."""
        permit(caller_of(context), Action.OPERATE)
        await self._budgets.set(budget_wire.decode(request.budget))
        return wire.SetBudgetResponse()

    async def DeleteBudget(self, request: wire.DeleteBudgetRequest, context: Context) -> wire.DeleteBudgetResponse:
        """Forget a budget."""
        permit(caller_of(context), Action.OPERATE)
        await self._budgets.delete(request.name)
        return wire.DeleteBudgetResponse()
