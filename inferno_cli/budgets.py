"""Budgets, as the governator keeps them and people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.budget_pb2 import Budget, BudgetScope, BudgetStanding
from inferno_cli import governing, output
from inferno_cli.asking import Asked
from inferno_cli.output import Column
from inferno_runtime.errors import InvalidInput

Answer = wire.ListBudgetsResponse
_WHAT = "budgets"


def ask(asked: Asked, scope: BudgetScope | None = None) -> Answer:
    """How budgets stand: all of them, or those in which spending of a scope counts.

    Raises:
        InfernoError: The governator does not answer, or refuses.
    """
    answer: Answer = governing.ask(
        asked, lambda stub: stub.ListBudgets(wire.ListBudgetsRequest(scope=scope), timeout=asked.timeout), _WHAT
    )
    return answer


def budget(name: str, dollars: str, period: str, thresholds: str, scope: Mapping[str, str], *, hard: bool) -> Budget:
    """The budget that the command line names.

    Raises:
        InvalidInput: The amount or a threshold is no such thing.
    """
    try:
        micros = Decimal(dollars.removeprefix("$").replace(",", "")) * 1_000_000
        whole = int(micros)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise _no_amount(dollars) from error
    if whole != micros or not 0 < whole < 2**63:
        raise _no_amount(dollars)
    try:
        percents = [int(each.strip().removesuffix("%")) for each in thresholds.split(",")]
    except ValueError:
        percents = []
    if not percents or any(not 0 < each < 2**31 for each in percents):
        raise InvalidInput(
            f"{thresholds!r} are no percentages.", reason="BAD_THRESHOLDS", fix="Write them like 50,80,100."
        )
    return Budget(
        name=name, scope=BudgetScope(**scope), amount_micros=whole, period=period, thresholds=percents, hard=hard
    )


def _no_amount(dollars: str) -> InvalidInput:
    return InvalidInput(
        f"{dollars!r} is no amount of US dollars.",
        reason="BAD_AMOUNT",
        fix="Write a positive number with at most six decimals, like 250 or 12.50.",
    )


def keep(asked: Asked, one: Budget) -> None:
    """Have a budget kept, and say so."""
    governing.ask(asked, lambda stub: stub.SetBudget(wire.SetBudgetRequest(budget=one), timeout=asked.timeout), _WHAT)
    output.say(f"Budget {one.name}: {output.money(one.amount_micros)} a {one.period} for {_scope(one.scope)}.")


def delete(asked: Asked, name: str) -> None:
    """Have a budget forgotten, and say so."""
    request = wire.DeleteBudgetRequest(name=name)
    governing.ask(asked, lambda stub: stub.DeleteBudget(request, timeout=asked.timeout), _WHAT)
    output.say(f"Budget {name} is gone.")


def document(answer: Answer) -> list[dict[str, Any]]:
    """Budgets as JSON values; money in millionths of a US dollar."""
    return [_document(one) for one in answer.budgets]


def _document(one: BudgetStanding) -> dict[str, Any]:
    of = one.budget
    return {
        "name": of.name,
        "scope": {name: getattr(of.scope, name) or None for name in ("team", "key", "model", "region")},
        "amount_micros": of.amount_micros,
        "period": of.period,
        "thresholds": list(of.thresholds),
        "hard": of.hard,
        "in_settings": one.in_settings,
        "start": one.start.ToJsonString(),
        "end": one.end.ToJsonString(),
        "spent_micros": one.spent_micros,
        "left_micros": one.left_micros,
        "rate_micros_per_hour": one.rate_micros_per_hour,
        "forecast_micros": one.forecast_micros,
        "runs_out": one.runs_out.ToJsonString() if one.HasField("runs_out") else None,
        "crossed_percent": one.crossed_percent or None,
        "binding": one.binding,
        "binding_left_micros": one.binding_left_micros,
    }


def _scope(scope: BudgetScope) -> str:
    said = [f"{name} {getattr(scope, name)}" for name in ("team", "key", "model", "region") if getattr(scope, name)]
    return ", ".join(said) or "everything"


def _when(text: str | None) -> str:
    if text is None:
        return "-"
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%m-%d %H:%M")


_COLUMNS = (
    Column("name", "BUDGET"),
    Column("of", "FOR"),
    Column("period", "PERIOD"),
    Column("amount_micros", "AMOUNT", show=output.money, right=True),
    Column("spent_micros", "SPENT", show=output.money, right=True),
    Column("used", "USED", right=True, colour=lambda text: "red" if text.startswith("!") else None),
    Column("forecast_micros", "FORECAST", show=output.money, right=True),
    Column("runs_out", "RUNS OUT (UTC)", show=_when),
    Column("binds", "BINDING"),
)


def _rows(answer: Answer) -> list[dict[str, Any]]:
    rows = []
    for one, row in zip(answer.budgets, document(answer), strict=True):
        used = row["spent_micros"] * 100 // row["amount_micros"]
        itself = row["binding"] == row["name"]
        binds = "itself" if itself else f"{row['binding']}: {output.money(row['binding_left_micros'])} left"
        mark = "!" if used >= 100 else ""
        rows.append({**row, "of": _scope(one.budget.scope), "used": f"{mark}{used}%", "binds": binds})
    return rows


def show(answer: Answer, form: output.Format) -> None:
    """Print how budgets stand, as a table or as JSON."""
    if form == "json":
        output.print_json(document(answer))
    elif not answer.budgets:
        output.print_line("There is no budget. Set one with: inferno budget set NAME DOLLARS")
    else:
        output.print_table(_COLUMNS, _rows(answer))


def explain(asked: Asked, names: Mapping[str, str]) -> None:
    """Print which budgets limit a scope, the widest first, and which of them binds."""
    scope = BudgetScope(**names)
    answer = ask(asked, scope)
    if asked.form == "json":
        output.print_json({"binding": answer.binding or None, "budgets": document(answer)})
        return
    if not answer.budgets:
        output.print_line(f"No budget limits {_scope(scope)}.")
        return
    output.print_table(_COLUMNS, _rows(answer))
    binds = next(one for one in answer.budgets if one.budget.name == answer.binding)
    left = output.money(max(0, binds.left_micros))
    until = binds.end.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M UTC")
    output.print_line(f"\n{_scope(scope)} may spend {left} more until {until}: {answer.binding} binds.")
