"""What may be rented, and what the mesh itself shows."""

from __future__ import annotations

from datetime import date

from inferno_governator.plan import seen
from inferno_governator.plan.offers import Choice, listed, none_left
from inferno_governator.prices.book import Known, PriceBook
from inferno_governator.prices.keeper import NodePrice
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote
from inferno_governator.prices.overlay import Discount, Overlay, Scope
from inferno_governator.prices.overlay import NodePrice as OwnPrice
from inferno_governator.prices.pricing import Origin, Priced
from inferno_governator.prices.rules import Rules
from inferno_governator.usage import Facts

TODAY, RULES = date(2026, 9, 1), Rules(max_age_days=90)


def quoted(name: str, micros: int, day: date = TODAY, *, cloud: str = "aws", kind: Kind = Kind.ON_DEMAND) -> Known:
    return Known(Quote(Offer(OfferKey(cloud, "r", name, kind), "L4", 2, 24), micros, day, "s"), 0, 0)


def test_offers_are_those_of_the_choice_whose_price_may_be_acted_on_less_discounts() -> None:
    book = PriceBook(
        [
            quoted("Fresh", 1_000_000),
            quoted("spot", 400_000, kind=Kind.SPOT),
            quoted("old", 900_000, date(2026, 1, 1)),
            quoted("elsewhere", 1, cloud="gcp"),
        ]
    )
    # A price of one's own nodes is no price of offers.
    overlay = Overlay(nodes=(OwnPrice("*", 7),), discounts=(Discount(Scope("aws"), 1_000),))
    chosen = Choice(clouds=frozenset({"aws"}), gpus=frozenset({"l4"}), most=3)
    found = listed(book, 10, TODAY, RULES, overlay, chosen)
    assert [(each.name, each.micros, each.gpu_count, each.most) for each in found.machines] == [
        ("Fresh", 900_000, 2, 3)
    ]
    assert (found.stale, found.days[found.machines[0]]) == (1, TODAY)
    every = listed(book, 10, TODAY, RULES, overlay, Choice(spot=True, any_age=True, regions=frozenset({"r"})))
    assert (sorted(each.name for each in every.machines), every.stale) == (["Fresh", "elsewhere", "old", "spot"], 0)
    assert not listed(book, 10, TODAY, RULES, overlay, Choice(instance_types=frozenset({"none"}))).machines
    assert [none_left(stale, RULES).reason for stale in (0, 2)] == ["NO_OFFER", "STALE_PRICES"]


def test_machines_like_those_that_run_are_offers_at_the_highest_price_that_one_of_them_costs() -> None:
    gpu = Facts(0, region="R", device="NVIDIA L4", gpu_count=2, instance_type="g6", provider="AWS")

    def node(name: str, facts: Facts, micros: int, *, running: bool = True) -> NodePrice:
        return NodePrice(name, facts, Priced(micros, Origin.REPORTED, ""), running)

    nodes = [
        node("a", gpu, 5),
        node("b", gpu, 7),
        node("gone", Facts(0, device="x"), 9, running=False),
        node("unpriced", Facts(0, device="y"), 0),
        node("plain", Facts(0, device="EPYC"), 3),
    ]
    assert [
        (each.cloud, each.region, each.name, each.gpu, each.gpu_count, each.micros) for each in seen.machines(nodes)
    ] == [
        ("aws", "r", "g6", "L4", 2, 7),
        ("own", "here", "EPYC", "EPYC", 1, 3),
    ]
