"""What is said of budgets: thresholds that are reached, and money that will not last the period."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from inferno_governator.alerts.alert import Finding, Kind, Severity
from inferno_governator.budgets.standing import Standing
from inferno_governator.money import dollars

# Before a tenth of the period is over, a rate says little about all of it.
_EARLY = 10


def findings(standings: Iterable[Standing], now_minute: int) -> list[Finding]:
    """One finding for each budget that reached a threshold, or will be spent before its period ends."""
    found = []
    for one in standings:
        severities = [each for each in (_by_threshold(one.crossed), _by_forecast(one, now_minute)) if each is not None]
        if severities:
            found.append(_finding(one, max(severities)))
    return found


def _by_threshold(crossed: int) -> Severity | None:
    if crossed >= 100:
        return Severity.CRITICAL
    if crossed >= 80:
        return Severity.WARNING
    return Severity.INFO if crossed else None


def _by_forecast(one: Standing, now_minute: int) -> Severity | None:
    over = one.window
    elapsed = now_minute - over.start_minute
    early = elapsed * _EARLY < over.end_minute - over.start_minute
    return Severity.WARNING if one.runs_out_minute is not None and not early else None


def _finding(one: Standing, severity: Severity) -> Finding:
    budget = one.budget
    share = one.spent_micros * 100 // budget.amount_micros
    largest = ""
    if one.largest is not None and one.spent_micros:
        scope, cost = one.largest
        whose = scope if scope.model or scope.team or scope.key else "idleness, overhead and unused commitments"
        largest = f"; most of it {whose} ({dollars(cost)})"
    if one.left_micros <= 0:
        ahead = " It is used up."
    elif one.runs_out_minute is not None:
        ahead = f" At {dollars(one.rate_micros)} an hour it is used up at {_time(one.runs_out_minute)}."
    else:
        ahead = ""
    return Finding(
        Kind.BUDGET,
        budget.name,
        severity,
        f"Budget {budget.name} ({budget.scope}) has spent {dollars(one.spent_micros)} of "
        f"{dollars(budget.amount_micros)} ({share} %) since {_time(one.window.start_minute)}{largest}.{ahead}",
        "inferno budget ls",
        {
            "spent": dollars(one.spent_micros),
            "amount": dollars(budget.amount_micros),
            "left": dollars(one.left_micros),
            "rate an hour": dollars(one.rate_micros),
            "forecast": dollars(one.forecast_micros),
            "threshold": f"{one.crossed} %",
        },
    )


def _time(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%d %H:%M UTC")
