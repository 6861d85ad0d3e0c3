"""The bill as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification (focus.finops.org, version 1.2).

Every column that the specification calls mandatory is there, and the conditional and recommended ones that apply; the
sections named below are those of its column definitions. Columns of our own begin with ``x_``. Not there, because
nothing here would fill them: availability zones, capacity reservations, sub accounts (a team is a tag) and pricing
currencies.

A commitment is billed hour by hour as it is used or not, so it has no row of category "Purchase". A node of which a
savings plan covers a part is two rows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum
from typing import Any

from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.money import MICROS_PER_HOUR, apportion

_MICRO = Decimal("0.000001")
# Enough for a unit price times a quantity to be the cost to the micro-dollar, up to a million dollars an hour.
QUANTITY_PLACES = 12
_QUANTITY = Decimal(1).scaleb(-QUANTITY_PLACES)
_UNKNOWN = "Unknown"
_RESERVATION = "reservation"
_COUNTERS = ("requests", "errors", "inferences", "input_tokens", "output_tokens")
_CHARGES = {
    Purpose.WORK: "Inference of {model} on {node}, {kind} at ${price} an hour",
    Purpose.IDLE: "Idle time of {node}, {kind} at ${price} an hour",
    Purpose.OVERHEAD: "Start, loading and drain of {node}, {kind} at ${price} an hour",
    Purpose.UNUSED: "Unused part of the commitment {commitment}, {kind} at ${price} an hour",
}


class Type(Enum):
    """A column's data type: money with 6 places, a quantity with 12, a whole number, a time, text, or JSON."""

    MONEY = "money"
    QUANTITY = "quantity"
    WHOLE = "whole"
    TIME = "time"
    TEXT = "text"
    JSON = "json"


Value = Decimal | int | datetime | str | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Who bills: the billing account's identifier and name, and who provides the nodes."""

    account: str = "inferno"
    account_name: str = "Inferno mesh"
    provider: str = _UNKNOWN


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name as the specification writes it, its type, and what an item has in it."""

    name: str
    type: Type
    value: Callable[[Item], Value]


def rows(item: Item, columns: Sequence[Column]) -> list[list[Value]]:
    """An item as a row, or two where a commitment covers a part of it."""
    return [[column.value(part) for column in columns] for part in _parts(item)]


def _parts(item: Item) -> list[Item]:
    """What a commitment paid, and the rest, which is none of its."""
    used, rest = item.committed_micros, item.cost_micros - item.committed_micros
    if not item.facts.commitment or not rest:
        return [item]
    plain = replace(item.facts, commitment="", committed=0)
    if not used:
        return [item._replace(facts=plain)]
    used_time, rest_time = apportion(item.paid_micros, (used, rest))
    none: dict[str, Any] = dict.fromkeys((*_COUNTERS, "committed_micros"), 0)
    return [
        item._replace(paid_micros=used_time, cost_micros=used),
        item._replace(facts=plain, paid_micros=rest_time, cost_micros=rest, **none),
    ]


def _cost(item: Item) -> Decimal:
    return Decimal(item.cost_micros) * _MICRO


def _price(item: Item) -> Decimal:
    return Decimal(item.facts.price) * _MICRO


def _billed_hours(item: Item) -> Decimal:
    """Hours at the unit price that make the cost ("ContractedCost": the product must match it).

    A minute is billed in whole micro-dollars, so they differ from the time by less than a micro-dollar's worth.
    """
    if not item.facts.price:
        return (Decimal(item.paid_micros) / MICROS_PER_HOUR).quantize(_QUANTITY, ROUND_HALF_EVEN)
    return (Decimal(item.cost_micros) / item.facts.price).quantize(_QUANTITY, ROUND_HALF_EVEN)


def _consumed_seconds(item: Item) -> Decimal | None:
    if item.purpose is Purpose.UNUSED:
        return None
    return Decimal(item.paid_micros) * _MICRO


@functools.lru_cache(maxsize=4096)
def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _month(item: Item) -> datetime:
    return _time(item.start_minute).replace(day=1, hour=0, minute=0)


def _next_month(item: Item) -> datetime:
    start = _month(item)
    return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def _kind(item: Item) -> str:
    return item.facts.instance_type or item.facts.device or ("commitment" if item.purpose is Purpose.UNUSED else "node")


def _price_id(item: Item) -> str:
    return "/".join((_kind(item), item.facts.region or "anywhere", "spot" if item.facts.spot else "on-demand"))


def _description(item: Item) -> str:
    price = f"{item.facts.price / 1_000_000:.6f}"
    return _CHARGES[item.purpose].format(
        model=item.model, node=item.node, kind=_kind(item), price=price, commitment=item.facts.commitment
    )


def _details(item: Item) -> str | None:
    """Properties that the section SkuPriceDetails defines, those that are known."""
    facts = item.facts
    known: dict[str, object] = {}
    if facts.gpu_count:
        known["GpuCount"] = facts.gpu_count
    if facts.instance_type:
        known["InstanceType"] = facts.instance_type
    if facts.device:
        known["x_Device"] = facts.device
    return json.dumps(known, ensure_ascii=False) if known else None


def _tags(item: Item) -> str:
    """Whose and what for. What the mesh sets has its prefix; what people set has none (section Tags)."""
    tags = {
        "inferno/purpose": item.purpose.value,
        "inferno/model": item.model,
        "inferno/version": item.version,
        "team": item.team,
        "key": item.key,
    }
    return json.dumps({name: value for name, value in tags.items() if value}, ensure_ascii=False)


def _commitment(item: Item) -> str | None:
    return item.facts.commitment or None


def _by_time(item: Item) -> bool:
    """True for a commitment to machines, false for one to spending."""
    return item.facts.origin == _RESERVATION


def _of_commitment(by_time: str, by_spend: str) -> Callable[[Item], Value]:
    def value(item: Item) -> Value:
        if not item.facts.commitment:
            return None
        return by_time if _by_time(item) else by_spend

    return value


def _committed_quantity(item: Item) -> Decimal | None:
    """Hours of machines, or dollars; null where it takes back what was billed twice ("MUST be the positive ...")."""
    if not item.facts.commitment:
        return None
    quantity = _billed_hours(item) if _by_time(item) else _cost(item).quantize(_QUANTITY)
    return quantity if quantity > 0 else None


def _pricing_category(item: Item) -> str:
    if item.facts.commitment:
        return "Committed"
    return "Dynamic" if item.facts.spot else "Standard"


def _status(item: Item) -> str | None:
    if not item.facts.commitment:
        return None
    return "Unused" if item.purpose is Purpose.UNUSED else "Used"


def _node(item: Item) -> str | None:
    return item.node or None


def _always(value: Value) -> Callable[[Item], Value]:
    return lambda _: value


def columns(origin: Origin) -> tuple[Column, ...]:
    """The columns, in the order of their names."""

    def provider(item: Item) -> str:
        return item.facts.provider or origin.provider

    return (
        Column("BilledCost", Type.MONEY, _cost),
        Column("BillingAccountId", Type.TEXT, _always(origin.account)),
        Column("BillingAccountName", Type.TEXT, _always(origin.account_name)),
        Column("BillingCurrency", Type.TEXT, _always("USD")),
        Column("BillingPeriodEnd", Type.TIME, _next_month),
        Column("BillingPeriodStart", Type.TIME, _month),
        Column("ChargeCategory", Type.TEXT, _always("Usage")),
        Column("ChargeClass", Type.TEXT, _always(None)),
        Column("ChargeDescription", Type.TEXT, _description),
        Column("ChargeFrequency", Type.TEXT, _always("Usage-Based")),
        Column("ChargePeriodEnd", Type.TIME, lambda item: _time(item.start_minute + item.minutes)),
        Column("ChargePeriodStart", Type.TIME, lambda item: _time(item.start_minute)),
        Column("CommitmentDiscountCategory", Type.TEXT, _of_commitment("Usage", "Spend")),
        Column("CommitmentDiscountId", Type.TEXT, _commitment),
        Column("CommitmentDiscountName", Type.TEXT, _commitment),
        Column("CommitmentDiscountQuantity", Type.QUANTITY, _committed_quantity),
        Column("CommitmentDiscountStatus", Type.TEXT, _status),
        Column("CommitmentDiscountType", Type.TEXT, _of_commitment("Reservation", "Savings Plan")),
        Column("CommitmentDiscountUnit", Type.TEXT, _of_commitment("Hours", "USD")),
        Column("ConsumedQuantity", Type.QUANTITY, _consumed_seconds),
        Column("ConsumedUnit", Type.TEXT, lambda item: "Seconds" if item.node else None),
        Column("ContractedCost", Type.MONEY, _cost),
        Column("ContractedUnitPrice", Type.MONEY, _price),
        Column("EffectiveCost", Type.MONEY, _cost),
        Column("InvoiceId", Type.TEXT, _always(None)),
        Column("InvoiceIssuerName", Type.TEXT, provider),
        Column("ListCost", Type.MONEY, _cost),
        Column("ListUnitPrice", Type.MONEY, _price),
        Column("PricingCategory", Type.TEXT, _pricing_category),
        Column("PricingQuantity", Type.QUANTITY, _billed_hours),
        Column("PricingUnit", Type.TEXT, _always("Hours")),
        Column("ProviderName", Type.TEXT, provider),
        Column("PublisherName", Type.TEXT, provider),
        Column("RegionId", Type.TEXT, lambda item: item.facts.region or None),
        Column("RegionName", Type.TEXT, lambda item: item.facts.region or None),
        Column("ResourceId", Type.TEXT, _node),
        Column("ResourceName", Type.TEXT, _node),
        Column("ResourceType", Type.TEXT, lambda item: "Node" if item.node else None),
        Column("ServiceCategory", Type.TEXT, _always("AI and Machine Learning")),
        Column("ServiceName", Type.TEXT, _always("Inference")),
        Column("ServiceSubcategory", Type.TEXT, _always("AI Platforms")),
        Column("SkuId", Type.TEXT, _kind),
        Column("SkuMeter", Type.TEXT, _always("Node time")),
        Column("SkuPriceDetails", Type.JSON, _details),
        Column("SkuPriceId", Type.TEXT, _price_id),
        Column("Tags", Type.JSON, _tags),
        Column("x_ApiKey", Type.TEXT, lambda item: item.key or None),
        Column("x_Device", Type.TEXT, lambda item: item.facts.device or None),
        Column("x_Errors", Type.WHOLE, lambda item: item.errors),
        Column("x_Inferences", Type.WHOLE, lambda item: item.inferences),
        Column("x_InputTokens", Type.WHOLE, lambda item: item.input_tokens),
        Column("x_Model", Type.TEXT, lambda item: item.model or None),
        Column("x_ModelVersion", Type.TEXT, lambda item: item.version or None),
        Column("x_OutputTokens", Type.WHOLE, lambda item: item.output_tokens),
        Column("x_Purpose", Type.TEXT, lambda item: item.purpose.value),
        Column("x_Requests", Type.WHOLE, lambda item: item.requests),
        Column("x_Team", Type.TEXT, lambda item: item.team or None),
    )
