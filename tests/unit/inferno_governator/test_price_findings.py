"""What is said of prices that moved, lack, are too old, or wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from inferno_governator.alerts.alert import Kind, Severity
from inferno_governator.prices.book import Known, PriceBook
from inferno_governator.prices.flags import flags
from inferno_governator.prices.offers import Kind as OfferKind
from inferno_governator.prices.offers import Offer, OfferKey, Quote
from inferno_governator.prices.rules import Rules, State
from inferno_governator.usage import Facts
from inferno_governator.watch.price_findings import PriceWatch, flagged, unpriced
from tests.unit.inferno_governator.items import H100, L4, MINUTE, item

TODAY = date(2026, 6, 21)
KEY = OfferKey("aws", "us-east-1", "p5.48xlarge", OfferKind.ON_DEMAND)
P5 = Facts(55_040_000, "us-east-1", "NVIDIA H100", 8, "p5.48xlarge", provider="aws", origin="catalogue")


def quote(micros: int, days_old: int = 0) -> Quote:
    return Quote(Offer(KEY, "H100", 8, 80), micros, TODAY - timedelta(days=days_old), "list")


def test_a_price_that_moved_is_news_for_an_hour_and_a_leap_is_a_warning() -> None:
    watch = PriceWatch()
    watch.see(MINUTE, [item(), item("b", L4)])
    assert watch.findings() == []
    watch.see(MINUTE + 10, [item(facts=replace(H100, price=7_000_000)), item("b", replace(L4, price=1_610_000))])
    # 1.7 % more is nothing to speak of.
    (found,) = watch.findings()
    assert (found.subject, found.severity) == ("g6.xlarge in eu-west-1 spot", Severity.WARNING)
    assert found.cause == "An hour of g6.xlarge in eu-west-1 (spot) costs $1.61 instead of $0.8050 (+100%)."
    watch.see(MINUTE + 80, [])
    assert watch.findings() == []


def test_nodes_without_a_price_are_one_finding() -> None:
    assert unpriced([item()]) == []
    (one,) = unpriced([item(facts=replace(H100, price=0))])
    assert one.cause == "1 node has no price, so the bill is too low: node-1."
    (many,) = unpriced([item(name, replace(H100, price=0)) for name in "dcba"])
    assert many.cause == "4 nodes have no price, so the bill is too low: a, b, c, …."


def test_an_old_price_and_one_that_waits_are_told_where_a_node_uses_the_offer() -> None:
    book = PriceBook([Known(quote(55_040_000, 91), 0, 0), Known(quote(30_000_000), MINUTE, 0, waits=True)])
    nodes = {
        "b": P5,
        "a": replace(P5, instance_type="P5.48xlarge", origin="savings_plan"),
        "own": replace(P5, origin="node"),
        "spot": replace(P5, spot=True),
    }
    old, waits = flags(nodes, MINUTE, TODAY, book, Rules())
    assert [(each.verdict.state, each.nodes) for each in (old, waits)] == [
        (State.STALE, ("a", "b")),
        (State.JUMPED, ("a", "b")),
    ]
    told = flagged([old, waits])
    assert [(each.kind, each.subject, each.severity) for each in told] == [
        (Kind.PRICE, "p5.48xlarge in aws us-east-1 is old", Severity.INFO),
        (Kind.PRICE, "p5.48xlarge in aws us-east-1 waits", Severity.WARNING),
    ]
    assert told[0].cause == (
        "The price of p5.48xlarge in aws us-east-1 is $55.04 an hour as of 2026-03-22 by list, which 2 nodes use "
        "(a, b). It is 91 days old, and 90 are allowed."
    )
    assert told[1].cause.startswith("A price of $30.00 an hour as of 2026-06-21 by list waits for p5.48xlarge in aws")
    assert "differs by -45 %" in told[1].cause


def test_a_fresh_price_and_one_that_no_node_uses_are_not_spoken_of() -> None:
    book = PriceBook([Known(quote(55_040_000, 90), 0, 0)])
    assert flags({"a": P5}, MINUTE, TODAY, book, Rules()) == []
    stale = PriceBook([Known(quote(55_040_000, 400), 0, 0)])
    assert flags({"a": replace(P5, origin="estimate", instance_type="other")}, MINUTE, TODAY, stale, Rules()) == []
    assert flags({"a": replace(P5, region="us-west-2")}, MINUTE, TODAY, stale, Rules()) == []
