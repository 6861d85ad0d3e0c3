"""FOCUS 1.2: the rules below are those of the specification's column definitions, by section, for what we export."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given

from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.export.focus import Origin, Type, Value, columns, rows
from tests.unit.inferno_governator.items import H100, L4, MINUTE, bills, idle, item, unused

COLUMNS = columns(Origin("acct-1", "Our mesh", "Example Cloud"))
# Feature level "Mandatory" in the column definitions of version 1.2.
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
# "Allows nulls: False", and what must not be null of a charge of category "Usage" that is no correction.
NOT_NULL = (MANDATORY - {"ChargeClass"}) | {
    "ChargeFrequency", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory", "ServiceSubcategory", "SkuId",
    "SkuMeter", "SkuPriceId",
}  # fmt: skip
# Of what a resource did; what is unused of a commitment is none.
OF_RESOURCE = {"ConsumedQuantity", "ConsumedUnit", "ResourceId", "ResourceName", "ResourceType"}
# Null where there is no CommitmentDiscountId, and not null where there is one and the category is "Usage".
OF_COMMITMENT = {f"CommitmentDiscount{name}" for name in ("Category", "Id", "Name", "Status", "Type", "Unit")}
ALLOWED: dict[str, set[str | None]] = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {None, "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "CommitmentDiscountCategory": {"Spend", "Usage", None},
    "CommitmentDiscountStatus": {"Used", "Unused", None},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    # Of the category "AI and Machine Learning".
    "ServiceSubcategory": {"AI Platforms", "Generative AI", "Machine Learning", "Other (AI and Machine Learning)"},
}
# Unit Format: plural units, capitalised as in its tables.
UNITS = {"Hours", "Seconds"}
TYPES = {
    Type.MONEY: Decimal, Type.QUANTITY: Decimal, Type.WHOLE: int, Type.TIME: datetime, Type.TEXT: str, Type.JSON: str,
}  # fmt: skip


def charges(each: Item) -> list[dict[str, Value]]:
    return [dict(zip((column.name for column in COLUMNS), row, strict=True)) for row in rows(each, COLUMNS)]


def fields(each: Item) -> dict[str, Value]:
    (only,) = charges(each)
    return only


def number(value: Value) -> Decimal:
    assert isinstance(value, Decimal)
    return value


def test_every_mandatory_column_is_there_once_and_in_order() -> None:
    names = [column.name for column in COLUMNS]
    assert names == sorted(set(names))
    assert set(names) >= MANDATORY


def test_columns_are_in_pascal_case_and_our_own_have_their_prefix() -> None:
    # Attribute ColumnHandling: x_ for custom columns, PascalCase for the specification's.
    for column in COLUMNS:
        assert re.fullmatch(r"(x_)?[A-Z][A-Za-z]+", column.name)
        assert len(column.name) <= 50


@given(bills)
def test_a_row_is_as_the_specification_wants_it(bill: list[Item]) -> None:
    for found in (charge for each in bill for charge in charges(each)):
        assert not [name for name in NOT_NULL if found[name] is None]
        for column in COLUMNS:
            value = found[column.name]
            assert value is None or isinstance(value, TYPES[column.type])
        for name, values in ALLOWED.items():
            value = found[name]
            assert value is None or isinstance(value, str)
            assert value in values
        assert {found["PricingUnit"], found["ConsumedUnit"] or "Seconds"} <= UNITS
        assert re.fullmatch("[A-Z]{3}", str(found["BillingCurrency"]))
        for name in ("ListUnitPrice", "ContractedUnitPrice"):
            assert number(found[name]) >= 0
        assert number(found["PricingQuantity"]) >= 0 or number(found["BilledCost"]) < 0
        assert all((found[name] is None) is (found["CommitmentDiscountStatus"] == "Unused") for name in OF_RESOURCE)


@given(bills)
def test_unit_prices_times_quantities_match_costs(bill: list[Item]) -> None:
    # ListUnitPrice, ContractedUnitPrice: "The product ... and PricingQuantity MUST match".
    for found in (charge for each in bill for charge in charges(each)):
        for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
            product = number(found[price]) * number(found["PricingQuantity"])
            if found[price]:
                assert round(product, 6) == found[cost]


@given(bills)
def test_billed_costs_add_up_to_the_bill_exactly(bill: list[Item]) -> None:
    total = sum((number(found["BilledCost"]) for each in bill for found in charges(each)), Decimal(0))
    assert total * 1_000_000 == sum(each.cost_micros for each in bill)


@given(bills)
def test_a_charge_lies_in_its_billing_period_which_is_a_month(bill: list[Item]) -> None:
    # BillingPeriodStart, ChargePeriodStart: inclusive; the ends exclusive. DateTimeFormat: in UTC.
    for found in (charge for each in bill for charge in charges(each)):
        begin, start, end, over = (
            found[name] for name in ("BillingPeriodStart", "ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodEnd")
        )
        assert isinstance(begin, datetime)
        assert isinstance(start, datetime)
        assert isinstance(end, datetime)
        assert isinstance(over, datetime)
        assert begin <= start < end
        assert start < over
        assert (begin.day, begin.hour, over.day, over.hour) == (1, 0, 1, 0)
        assert all(time.tzinfo is UTC for time in (begin, start, end, over))


@given(bills)
def test_maps_are_key_value_and_tags_of_the_mesh_have_their_prefix(bill: list[Item]) -> None:
    # KeyValueFormat: an object of unique keys, values not nested; Tags: provider-defined keys have a prefix;
    # SkuPriceDetails: keys the specification does not define begin with x_.
    for found in (charge for each in bill for charge in charges(each)):
        tags = json.loads(str(found["Tags"]))
        assert all(isinstance(value, str) and value for value in tags.values())
        assert set(tags) <= {"team", "key", "inferno/purpose", "inferno/model", "inferno/version"}
        details = json.loads(str(found["SkuPriceDetails"]))
        assert all(key in ("GpuCount", "InstanceType") or key.startswith("x_") for key in details)


def test_work_says_whose_it_is_and_what_for() -> None:
    found = fields(item(team="search", key="prod", requests=7, errors=1, inferences=9, input_tokens=5, output_tokens=6))
    assert json.loads(str(found["Tags"])) == {
        "inferno/purpose": "work", "inferno/model": "llama", "inferno/version": "1", "team": "search", "key": "prod",
    }  # fmt: skip
    assert found["ChargeDescription"] == "Inference of llama on node-1, p5.4xlarge at $6.880000 an hour"
    assert (found["BilledCost"], found["PricingQuantity"]) == (Decimal("6.88"), Decimal(1))
    assert (found["ConsumedQuantity"], found["SkuPriceId"]) == (Decimal(3600), "p5.4xlarge/us-east-1/on-demand")
    assert [found[f"x_{name}"] for name in ("Requests", "Errors", "Inferences", "InputTokens", "OutputTokens")] == [
        7, 1, 9, 5, 6,
    ]  # fmt: skip
    assert (found["BillingAccountId"], found["ProviderName"]) == ("acct-1", "aws")
    assert found["SkuPriceDetails"] == '{"GpuCount": 1, "InstanceType": "p5.4xlarge", "x_Device": "NVIDIA H100"}'


def test_idleness_and_overhead_are_usage_of_the_node_without_a_model() -> None:
    for each in (idle("n", L4), item("n", L4, purpose=Purpose.OVERHEAD)):
        found = fields(each)
        assert (found["ChargeCategory"], found["x_Model"], found["ResourceId"]) == ("Usage", None, "n")
        assert found["ProviderName"] == "Example Cloud"
        # A spot price is the provider's and may change: "Dynamic".
        assert found["PricingCategory"] == "Dynamic"


@pytest.mark.parametrize(
    ("start", "first", "over"),
    [("2026-12-31T23:00", "2026-12-01", "2027-01-01"), ("2026-06-01T00:00", "2026-06-01", "2026-07-01")],
)
def test_a_month_ends_where_the_next_begins(start: str, first: str, over: str) -> None:
    minute = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()) // 60
    found = fields(item(start_minute=minute))
    assert (str(found["BillingPeriodStart"])[:10], str(found["BillingPeriodEnd"])[:10]) == (first, over)


def test_a_price_that_is_unknown_costs_nothing_for_the_time_it_took() -> None:
    found = fields(item(facts=H100.__class__(price=0), start_minute=MINUTE))
    assert (found["ListUnitPrice"], found["ListCost"], found["PricingQuantity"]) == (0, 0, 1)
    assert (found["RegionId"], found["SkuPriceDetails"], found["SkuId"]) == (None, None, "node")


@given(bills)
def test_a_commitment_is_said_whole_or_not_at_all(bill: list[Item]) -> None:
    # CommitmentDiscountStatus: null when CommitmentDiscountId is null, and not null otherwise (category "Usage").
    # PricingCategory: "Committed" when the charge is subject to a commitment discount.
    for found in (charge for each in bill for charge in charges(each)):
        told = {name for name in OF_COMMITMENT if found[name] is not None}
        assert told in (set(), OF_COMMITMENT)
        assert (found["PricingCategory"] == "Committed") is bool(told)
        quantity = found["CommitmentDiscountQuantity"]
        # "MUST be the positive, metered quantity", "the remaining, positive, unused quantity"; null in all other cases.
        assert quantity is None or (told and number(quantity) > 0)
        if told and found["CommitmentDiscountCategory"] == "Spend":
            assert (found["CommitmentDiscountUnit"], quantity) == ("USD", found["EffectiveCost"] or None)


@given(bills)
def test_what_a_commitment_paid_is_a_row_of_its_own(bill: list[Item]) -> None:
    for each in bill:
        made = charges(each)
        of_it = [found for found in made if found["CommitmentDiscountId"]]
        paid = sum((number(found["EffectiveCost"]) for found in of_it), Decimal(0))
        assert paid * 1_000_000 == each.committed_micros
        assert sum(number(found["ConsumedQuantity"]) for found in made if each.node) * 1_000_000 == each.paid_micros
        assert sum(int(str(found["x_Requests"])) for found in made) == each.requests


def test_a_reservation_is_hours_used_and_unused_and_a_savings_plan_dollars() -> None:
    covered = replace(H100, origin="reservation", commitment="p5-2026", committed=H100.price)
    used, left = fields(item(facts=covered, committed_micros=6_880_000)), fields(unused(3_440_000, covered))
    names = ("Id", "Name", "Category", "Type", "Status", "Quantity", "Unit")
    assert [used[f"CommitmentDiscount{name}"] for name in names] == [
        "p5-2026", "p5-2026", "Usage", "Reservation", "Used", Decimal(1), "Hours",
    ]  # fmt: skip
    assert [left[f"CommitmentDiscount{name}"] for name in names[4:]] == ["Unused", Decimal("0.5"), "Hours"]
    assert left["ChargeDescription"] == "Unused part of the commitment p5-2026, p5.4xlarge at $6.880000 an hour"
    partly = replace(H100, origin="savings_plan", commitment="s", committed=1_720_000)
    paid, rest = charges(item(facts=partly, requests=3, committed_micros=1_720_000))
    assert [paid[f"CommitmentDiscount{name}"] for name in names[2:]] == [
        "Spend", "Savings Plan", "Used", Decimal("1.72"), "USD",
    ]  # fmt: skip
    assert (paid["PricingCategory"], paid["PricingQuantity"]) == ("Committed", Decimal("0.25"))
    assert (rest["PricingCategory"], rest["BilledCost"], rest["x_Requests"]) == ("Standard", Decimal("5.16"), 0)
