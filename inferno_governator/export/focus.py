"""The bill as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification (focus.finops.org, version 1.2).

Every column that the specification calls mandatory is there, and the conditional and recommended ones that apply; the
sections named below are those of its column definitions. Columns of our own begin with ``x_``. Not there, because
nothing here would fill them: availability zones, capacity reservations, commitment discounts (a node is billed at the
price it has, whatever commitment that is from), sub accounts (a team is a tag) and pricing currencies.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum

from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.money import MICROS_PER_HOUR

_MICRO = Decimal("0.000001")
# Enough for a unit price times a quantity to be the cost to the micro-dollar, up to a million dollars an hour.
QUANTITY_PLACES = 12
_QUANTITY = Decimal(1).scaleb(-QUANTITY_PLACES)
_UNKNOWN = "Unknown"
_CHARGES = {
    Purpose.WORK: "Inference of {model} on {node}, {kind} at ${price} an hour",
    Purpose.IDLE: "Idle time of {node}, {kind} at ${price} an hour",
    Purpose.OVERHEAD: "Start, loading and drain of {node}, {kind} at ${price} an hour",
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


def row(item: Item, columns: Sequence[Column]) -> list[Value]:
    """An item as a row."""
    return [column.value(item) for column in columns]


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


def _consumed_seconds(item: Item) -> Decimal:
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
    return item.facts.instance_type or item.facts.device or "node"


def _price_id(item: Item) -> str:
    return "/".join((_kind(item), item.facts.region or "anywhere", "spot" if item.facts.spot else "on-demand"))


def _description(item: Item) -> str:
    price = f"{item.facts.price / 1_000_000:.6f}"
    return _CHARGES[item.purpose].format(model=item.model, node=item.node, kind=_kind(item), price=price)


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
        Column("ConsumedQuantity", Type.QUANTITY, _consumed_seconds),
        Column("ConsumedUnit", Type.TEXT, _always("Seconds")),
        Column("ContractedCost", Type.MONEY, _cost),
        Column("ContractedUnitPrice", Type.MONEY, _price),
        Column("EffectiveCost", Type.MONEY, _cost),
        Column("InvoiceId", Type.TEXT, _always(None)),
        Column("InvoiceIssuerName", Type.TEXT, provider),
        Column("ListCost", Type.MONEY, _cost),
        Column("ListUnitPrice", Type.MONEY, _price),
        Column("PricingCategory", Type.TEXT, lambda item: "Dynamic" if item.facts.spot else "Standard"),
        Column("PricingQuantity", Type.QUANTITY, _billed_hours),
        Column("PricingUnit", Type.TEXT, _always("Hours")),
        Column("ProviderName", Type.TEXT, provider),
        Column("PublisherName", Type.TEXT, provider),
        Column("RegionId", Type.TEXT, lambda item: item.facts.region or None),
        Column("RegionName", Type.TEXT, lambda item: item.facts.region or None),
        Column("ResourceId", Type.TEXT, lambda item: item.node),
        Column("ResourceName", Type.TEXT, lambda item: item.node),
        Column("ResourceType", Type.TEXT, _always("Node")),
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
