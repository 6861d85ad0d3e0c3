"""Budgets and their standings: from the wire to values, and back."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import budget_pb2
from inferno_governator.budgets.budget import THRESHOLDS, Budget, Scope
from inferno_governator.budgets.standing import Standing, binding


def decode(message: budget_pb2.Budget) -> Budget:
    """A budget, not checked yet; no thresholds means the usual ones."""
    return Budget(
        message.name,
        decode_scope(message.scope),
        message.amount_micros,
        message.period,
        tuple(message.thresholds) or THRESHOLDS,
        message.hard,
    )


def decode_scope(message: budget_pb2.BudgetScope) -> Scope:
    """A scope."""
    return Scope(message.team, message.key, message.model, message.region)


def encode(one: Standing, every: Sequence[Standing], *, in_settings: bool) -> budget_pb2.BudgetStanding:
    """Write a standing; ``every`` are those of all budgets, by which it is known which one binds."""
    budget, binds = one.budget, binding(one.budget.scope, every) or one
    message = budget_pb2.BudgetStanding(
        budget=budget_pb2.Budget(
            name=budget.name,
            scope=_scope(budget.scope),
            amount_micros=budget.amount_micros,
            period=budget.period,
            thresholds=budget.thresholds,
            hard=budget.hard,
        ),
        in_settings=in_settings,
        start=Timestamp(seconds=one.window.start_minute * 60),
        end=Timestamp(seconds=one.window.end_minute * 60),
        spent_micros=one.spent_micros,
        left_micros=one.left_micros,
        rate_micros_per_hour=one.rate_micros,
        forecast_micros=one.forecast_micros,
        crossed_percent=one.crossed,
        binding=binds.budget.name,
        binding_left_micros=binds.left_micros,
    )
    if one.runs_out_minute is not None:
        message.runs_out.FromSeconds(one.runs_out_minute * 60)
    if one.largest is not None:
        message.largest_scope.CopyFrom(_scope(one.largest[0]))
        message.largest_micros = one.largest[1]
    return message


def _scope(scope: Scope) -> budget_pb2.BudgetScope:
    return budget_pb2.BudgetScope(team=scope.team, key=scope.key, model=scope.model, region=scope.region)
