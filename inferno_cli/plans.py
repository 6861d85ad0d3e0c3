"""Plans, as the governator finds them and people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.plan_pb2 import FleetPlan, PlanGrowth, PlannedChange, PlanOffer, PlanQuestion
from inferno_cli import governing, output
from inferno_cli.asking import Asked
from inferno_cli.output import Column

_WHAT = "plans"


def plan(asked: Asked, question: PlanQuestion) -> FleetPlan:
    """The cheapest fleet.

    Raises:
        InfernoError: The governator does not answer, or there is none.
    """
    request = wire.PlanRequest(question=question)
    answer: wire.PlanResponse = governing.ask(asked, lambda stub: stub.Plan(request, timeout=asked.timeout), _WHAT)
    return answer.plan


def compare(asked: Asked, question: PlanQuestion, *, by_region: bool) -> wire.ComparePlansResponse:
    """Fleets within each cloud or region. Raises as :func:`plan`."""
    request = wire.ComparePlansRequest(question=question, by_region=by_region)
    answer: wire.ComparePlansResponse = governing.ask(
        asked, lambda stub: stub.ComparePlans(request, timeout=asked.timeout), _WHAT
    )
    return answer


def grow(
    asked: Asked, question: PlanQuestion, percent: float, months: int, coverage: float, days: Sequence[float]
) -> wire.PlanCapacityResponse:
    """What growth needs. Raises as :func:`plan`."""
    growth = PlanGrowth(percent_a_month=percent, months=max(0, months), coverage=coverage, days=days)
    request = wire.PlanCapacityRequest(question=question, growth=growth)
    answer: wire.PlanCapacityResponse = governing.ask(
        asked, lambda stub: stub.PlanCapacity(request, timeout=asked.timeout), _WHAT
    )
    return answer


def _document(message: Any) -> dict[str, Any]:
    """A message as JSON values under its own names; numbers of money stay numbers."""
    whole = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    found: dict[str, Any] = _numbers(whole)
    return found


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: int(each) if name.endswith("micros_per_hour") else _numbers(each) for name, each in value.items()}
    return [_numbers(each) for each in value] if isinstance(value, list) else value


def _called(offer: PlanOffer) -> str:
    return f"{offer.instance_type}{' spot' if offer.spot else ''}"


_NODES = (
    Column("count", "NODES", right=True),
    Column("called", "MACHINE"),
    Column("where", "WHERE"),
    Column("gpus", "GPUS"),
    Column("micros", "$/HOUR", show=output.money, right=True),
    Column("serves", "SERVES"),
)


def show(found: FleetPlan, form: output.Format) -> None:
    """Print a fleet."""
    if form == "json":
        output.print_json(_document(found))
        return
    rows = [
        {
            "count": each.count,
            "called": _called(each.offer),
            "where": f"{each.offer.cloud} {each.offer.region}",
            "gpus": f"{each.offer.gpu_count} × {each.offer.gpu}",
            "micros": each.micros_per_hour,
            "serves": ", ".join(f"{share.share:.0%} of {share.model}" for share in each.shares),
        }
        for each in found.nodes
    ]
    output.print_table(_NODES, rows)
    met = "" if found.within_gap else ", more than was asked for: time ran out"
    output.print_line(
        f"\n{output.money(found.micros_per_hour)} an hour. No fleet costs less than "
        f"{output.money(found.bound_micros_per_hour)}: a gap of {found.gap:.2%}{met}."
    )
    output.print_line(
        f"{found.offers_considered} offers can serve it, {found.offers_left} of them are not replaced by others; "
        f"solved in {found.seconds:.2f} s."
    )
    if found.oldest_price:
        output.print_line(f"The oldest price is of {found.oldest_price}.")
    for sentence in (*found.binding, *found.notes):
        output.print_line(sentence)


_ROWS = (
    Column("choice", "WITHIN"),
    Column("kind", "KIND"),
    Column("micros", "$/HOUR", show=lambda micros: output.money(micros) if micros else "-", right=True),
    Column("bound", "BOUND", show=lambda micros: output.money(micros) if micros else "-", right=True),
    Column("nodes", "NODES", right=True),
    Column("network", "NETWORK ms", show=lambda ms: "-" if ms is None else f"{ms:.0f}", right=True),
    Column("fleet", "FLEET"),
)


def show_comparison(answer: wire.ComparePlansResponse, form: output.Format) -> None:
    """Print what fleets cost in each cloud or region."""
    if form == "json":
        output.print_json([_document(each) for each in answer.rows])
        return
    rows = [
        {
            "choice": each.choice,
            "kind": "with spot" if each.spot else "on demand",
            "micros": each.plan.micros_per_hour,
            "bound": each.plan.bound_micros_per_hour,
            "nodes": sum(nodes.count for nodes in each.plan.nodes) or None,
            "network": each.network_ms if each.HasField("network_ms") else None,
            "fleet": each.refusal or ", ".join(f"{nodes.count} {_called(nodes.offer)}" for nodes in each.plan.nodes),
        }
        for each in answer.rows
    ]
    output.print_table(_ROWS, rows)


_MONTHS = (
    Column("month", "MONTH", right=True),
    Column("expected", "EXPECTED/s", right=True),
    Column("interval", "INTERVAL/s"),
    Column("micros", "$/HOUR", show=lambda micros: output.money(micros) if micros else "-", right=True),
    Column("nodes", "NODES", right=True),
    Column("changes", "CHANGE"),
)


def show_months(answer: wire.PlanCapacityResponse, form: output.Format) -> None:
    """Print what growth needs, month by month."""
    if form == "json":
        output.print_json([_document(each) for each in answer.months])
        return
    rows = [
        {
            "month": each.month,
            "expected": f"{each.expected_requests_per_second:.4g}",
            "interval": f"{each.low_requests_per_second:.4g} to {each.high_requests_per_second:.4g}",
            "micros": each.plan.micros_per_hour,
            "nodes": sum(nodes.count for nodes in each.plan.nodes) or None,
            "changes": each.refusal or ", ".join(map(_change, each.changes)) or "none",
        }
        for each in answer.months
    ]
    output.print_table(_MONTHS, rows)


def _change(change: PlannedChange) -> str:
    return f"{change.count:+d} {_called(change.offer)} in {change.offer.cloud} {change.offer.region}"
