"""Which price a node has, by one's own terms and by what offers cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.cost import FactsChange
from inferno_governator.prices import overlay
from inferno_governator.prices.book import Known, PriceBook
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote
from inferno_governator.prices.overlay import Commitment, Overlay, Scope
from inferno_governator.prices.pricing import Origin, Priced, price_fleet
from inferno_governator.prices.rebilling import rebilled
from inferno_governator.usage import Facts
from inferno_runtime.errors import InvalidInput, NotFound

MINUTE = 29_700_000
DAY = date(2026, 6, 1)


def known(cloud: str, region: str, machine: str, gpu: str, count: int, micros: int, spot: bool = False) -> Known:
    kind = Kind.SPOT if spot else Kind.ON_DEMAND
    return Known(Quote(Offer(OfferKey(cloud, region, machine, kind), gpu, count, 80), micros, DAY, "list"), 0, 0)


BOOK = PriceBook(
    [
        known("aws", "us-east-1", "p5.48xlarge", "H100", 8, 55_040_000),
        known("aws", "us-east-1", "p5.48xlarge", "H100", 8, 20_000_000, spot=True),
        known("azure", "eastus", "Standard_ND96isr_H100_v5", "H100", 8, 98_320_000),
        known("lambda", "*", "gpu_8x_h100_sxm5", "H100", 8, 31_920_000),
    ]
)
P5 = Facts(0, "us-east-1", "NVIDIA H100 80GB HBM3", 8, "p5.48xlarge", provider="aws")


def terms(text: str) -> Overlay:
    return overlay.parse(text.encode(), Path("terms.yaml"))


def priced(facts: Facts, own: Overlay | None = None, name: str = "n", watts: int | None = None) -> Priced:
    prices, _ = price_fleet({name: facts}, MINUTE, BOOK, own or Overlay(), {name: watts} if watts else {})
    return prices[name]


def test_the_order_of_what_a_node_costs() -> None:
    own = terms("""
nodes: [{nodes: special-*, usd_per_hour: 1.5}]
owned: [{nodes: rack-*, purchase_usd: 87600, years: 1, watts: 1000, usd_per_kwh: 0.20, pue: 1.5}]
discounts: [{cloud: aws, percent: 10}]
""")
    assert not own.problems
    told = replace(P5, reported=9_000_000)
    assert priced(told, own, "special-1")[:2] == (1_500_000, Origin.NODE)
    assert priced(told, own, "rack-1")[:2] == (9_000_000, Origin.REPORTED)
    assert priced(P5, own, "rack-1")[:2] == (10_300_000, Origin.OWNED)
    assert priced(P5, own)[:2] == (49_536_000, Origin.CATALOGUE)
    assert "less 10 %" in priced(P5, own).reason
    assert priced(P5)[:2] == (55_040_000, Origin.CATALOGUE)


def test_a_machine_is_found_in_any_case_by_kind_and_where_it_costs_the_same_everywhere() -> None:
    assert priced(replace(P5, instance_type="P5.48XLARGE", provider="AWS")).micros == 55_040_000
    assert priced(replace(P5, spot=True)).micros == 20_000_000
    elsewhere = replace(P5, provider="lambda", region="us-west-3", instance_type="gpu_8x_h100_sxm5")
    assert priced(elsewhere)[:2] == (31_920_000, Origin.CATALOGUE)


def test_without_its_machine_a_node_is_priced_by_its_gpus_and_without_them_not_at_all() -> None:
    near = priced(replace(P5, instance_type="p5.unheard-of"))
    assert near[:2] == (55_040_000, Origin.ESTIMATE)
    assert "in aws us-east-1" in near.reason
    far = priced(replace(P5, instance_type="", provider="", region="", gpu_count=1))
    assert far[:2] == (6_880_000, Origin.ESTIMATE)
    assert "of all clouds" in far.reason
    nothing = priced(Facts(0, device="cpu"))
    assert nothing[:2] == (0, Origin.UNPRICED)
    assert "No price is known" in nothing.reason
    assert priced(replace(P5, device="NVIDIA T4", instance_type=""))[:2] == (0, Origin.UNPRICED)


def test_owned_hardware_may_cost_what_its_devices_measure() -> None:
    own = terms(
        "owned: [{nodes: n, purchase_usd: 8760, years: 1, watts: measured, other_watts: 500, usd_per_kwh: 0.2}]"
    )
    assert not own.problems
    assert own.measures
    assert priced(P5, own, watts=4500)[:2] == (2_000_000, Origin.OWNED)
    assert priced(P5, own)[:2] == (0, Origin.UNPRICED)


def test_a_reservation_covers_so_many_machines_and_what_is_not_used_is_still_paid() -> None:
    own = terms("""
reservations:
  - {name: r, cloud: aws, instance_type: p5.*, count: 3, usd_per_hour: 100, from: 2026-01-01, until: 2027-01-01}
""")
    fleet = {"b": P5, "a": P5, "spot": replace(P5, spot=True)}
    prices, (use,) = price_fleet(fleet, MINUTE, BOOK, own, {})
    assert [prices[name][:2] for name in "ab"] == [(33_333_334, Origin.RESERVATION), (33_333_333, Origin.RESERVATION)]
    assert prices["spot"].origin is Origin.CATALOGUE
    assert (use.nodes, use.used_micros, use.unused_micros) == (("a", "b"), 66_666_667, 33_333_333)
    many = {str(n): P5 for n in range(4)}
    prices, (use,) = price_fleet(many, MINUTE, BOOK, own, {})
    assert sum(each.micros for each in prices.values()) == 100_000_000 + 55_040_000
    assert use.unused_micros == 0
    over = terms("reservations: [{name: r, count: 1, usd_per_hour: 1, until: 2026-01-01}]")
    assert price_fleet(fleet, MINUTE, BOOK, over, {})[1] == []


def test_a_savings_plan_is_used_up_and_beyond_it_the_list_price_is_paid() -> None:
    own = terms("savings_plans: [{name: s, cloud: aws, percent: 50, usd_per_hour: 41.28}]")
    prices, (use,) = price_fleet(dict.fromkeys("abc", P5), MINUTE, BOOK, own, {})
    # 27.52 at half price, then the 13.76 that are left, which pay half a machine; the third costs the list price.
    assert [prices[name].micros for name in "abc"] == [27_520_000, 13_760_000 + 27_520_000, 55_040_000]
    assert (use.nodes, use.unused_micros) == (("a", "b"), 0)
    _, (use,) = price_fleet({"a": P5}, MINUTE, BOOK, own, {})
    assert use.unused_micros == 13_760_000


@given(
    st.integers(0, 6),
    st.lists(
        st.builds(
            Commitment,
            name=st.just("c"),
            scope=st.just(Scope(spot=False)),
            micros=st.integers(0, 200_000_000),
            count=st.integers(0, 4),
            basis_points=st.integers(0, 10_000),
        ),
        max_size=3,
    ),
)
def test_what_is_used_and_what_is_not_add_up_to_each_commitment(nodes: int, commitments: list[Commitment]) -> None:
    fleet = {str(n): P5 for n in range(nodes)}
    prices, uses = price_fleet(fleet, MINUTE, BOOK, Overlay(commitments=tuple(commitments)), {})
    assert len(uses) == len(commitments)
    for use in uses:
        assert use.used_micros + use.unused_micros == use.commitment.micros
        assert use.used_micros >= 0
        assert use.unused_micros >= 0
    covered = [name for use in uses for name in use.nodes]
    assert len(covered) == len(set(covered)), "no node is covered twice"
    paid = sum(each.micros for each in prices.values())
    # Beyond the commitments nobody pays more than the list price.
    assert paid <= sum(use.used_micros for use in uses) + 55_040_000 * nodes


def test_a_wrong_entry_is_named_by_line_and_the_others_count() -> None:
    own = terms("""\
discounts:
  - {cloud: aws, percent: 10}
  - {cloud: aws, percent: 110}
  - {cloud: aws, percents: 10}
  - {percent: 5, colour: red}
  - nonsense
owned:
  - {nodes: a, purchase_usd: 1, residual_usd: 2, years: 3, watts: 1, usd_per_kwh: 1}
  - {nodes: a, years: 0, watts: 1, usd_per_kwh: 1}
  - {nodes: a, years: 1, watts: much, usd_per_kwh: 1}
  - {nodes: a, years: 1, watts: 1, usd_per_kwh: 1, pue: 0.5}
reservations:
  - {name: r, count: 0, usd_per_hour: 1}
  - {name: r, count: 1, usd_per_hour: 1, from: soon}
  - {name: r, count: 1, usd_per_hour: 1, kind: sometimes}
nodes: 7
extras: []
""")
    assert [each.basis_points for each in own.discounts] == [1000]
    assert [problem.split(": ", 2)[0] for problem in own.problems] == [
        f"terms.yaml:{line}" for line in (3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16, 17)
    ]
    assert "percent 110 is not between 0 and 100" in own.problems[0]
    assert "it lacks percent" in own.problems[1]
    assert "there is no 'colour' here" in own.problems[2]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        overlay.load(tmp_path / "none.yaml")
    with pytest.raises(InvalidInput):
        overlay.load(tmp_path)
    with pytest.raises(InvalidInput):
        terms("[1, 2]")
    assert terms("") == Overlay()


def _ten(facts: Facts, _: int) -> Facts:
    return replace(facts, price=10)


@pytest.mark.parametrize(
    ("history", "changes"),
    [
        # It was there before and after: priced anew within, and as before from the end on.
        ([(0, 1)], [(100, 10), (200, 1)]),
        # What begins at the end stays.
        ([(0, 1), (200, 3)], [(100, 10)]),
        # It changed within.
        ([(0, 1), (150, 2), (300, 3)], [(100, 10), (150, 10), (200, 2)]),
        # It came within; before, nobody knew it.
        ([(150, 2)], [(150, 10), (200, 2)]),
        # It came after it, or costs so much already.
        ([(200, 2)], []),
        ([(0, 10)], []),
    ],
)
def test_the_past_is_priced_anew_within_bounds(
    history: Sequence[tuple[int, int]], changes: Sequence[tuple[int, int]]
) -> None:
    made = rebilled([FactsChange(minute, Facts(price)) for minute, price in history], 100, 200, _ten)
    assert [(each.minute, each.facts.price) for each in made] == list(changes)
