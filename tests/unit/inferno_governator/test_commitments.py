"""Hypotheses and examples: what nodes use of a commitment and what is unused are its price, in every stretch."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.commitments import CommitmentMeter, Term, changed_terms
from inferno_governator.analysis.cost import (
    MINUTE_MICROS,
    DeviceUse,
    FactsChange,
    ModelUse,
    cut,
    minute_items,
    rolled_up,
)
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.analysis.sharing import CallerUse, shared
from inferno_governator.money import metered
from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.overlay import Commitment, NodePrice, Overlay, Scope
from inferno_governator.prices.pricing import in_force, price_fleet
from inferno_governator.usage import Facts
from tests.unit.inferno_governator.items import MINUTE

RESERVED = Facts(1_000_000, origin="reservation", commitment="r", committed=1_000_000)


def paid(terms: list[Term], start: int, end: int) -> int:
    """What a commitment costs from one minute until before another."""
    edges = sorted({start, end, *(each.minute for each in terms if start < each.minute < end)})
    total = 0
    for first, last in pairwise(edges):
        price = next((each.facts.price for each in reversed(terms) if each.minute <= first), 0)
        total += metered(price, first * MINUTE_MICROS, (last - first) * MINUTE_MICROS)
    return total


@given(
    count=st.integers(0, 3),
    micros=st.integers(0, 50_000_000),
    points=st.integers(0, 9_999),
    list_price=st.integers(1, 20_000_000),
    windows=st.lists(st.tuples(st.integers(0, 4), st.integers(1, MINUTE_MICROS)), max_size=9),
    edge=st.integers(1, 4),
)
def test_whatever_nodes_do_a_commitments_lines_are_its_price_to_the_micro_dollar(
    count: int, micros: int, points: int, list_price: int, windows: list[tuple[int, int]], edge: int
) -> None:
    commitment = Commitment("c", Scope(), micros, count=count, basis_points=points)
    # Estimated prices are covered as listed ones are; a list would make no difference here.
    fleet = {f"n{at}": Facts(list_price, gpu_count=1) for at in range(3)}
    overlay = Overlay(commitments=(commitment,))
    priced, _ = price_fleet(fleet, MINUTE, PriceBook(), overlay, {})
    history = {
        name: [FactsChange(0, replace(facts, price=priced[name].micros, commitment=priced[name].commitment,
                                      committed=priced[name].committed))]
        for name, facts in fleet.items()
    }  # fmt: skip
    seen = {(MINUTE + minute, f"n{at % 3}"): window for at, (minute, window) in enumerate(windows)}
    models = [ModelUse(*at, "m", "1", window, 3, 1, 3, 30, 9, window // 3) for at, window in seen.items()]
    devices = [DeviceUse(*at, window, 0, 0) for at, window in seen.items()]
    callers = [CallerUse(*at, "m", "1", "t", "k", 2, 0, 0, 20, 5, 6) for at in seen]
    items = shared(minute_items(history, models, devices), callers, history)
    terms = {"c": list(in_force(overlay, MINUTE).values())}

    def lines(start: int, end: int, of: list[Item]) -> list[Item]:
        meter = CommitmentMeter(terms, start, end)
        meter.count(of)
        return [*of, *meter.unused()]

    end = MINUTE + 5
    whole = lines(MINUTE, end, items)
    assert sum(each.committed_micros for each in whole) == paid(terms["c"], MINUTE, end)
    # The bill: what commitments cost, and what nodes cost beyond them.
    beyond = sum(each.cost_micros - each.committed_micros for each in items)
    assert sum(each.cost_micros for each in whole) == paid(terms["c"], MINUTE, end) + beyond
    assert all(0 <= each.committed_micros <= each.cost_micros for each in items)
    middle = MINUTE + edge
    first = [each for each in items if each.start_minute < middle]
    parts = lines(MINUTE, middle, first) + lines(middle, end, [each for each in items if each not in first])
    assert sum(each.cost_micros for each in parts) == sum(each.cost_micros for each in whole)
    hour = [part for each in rolled_up(items, 60) if (part := cut(each, MINUTE, MINUTE + 60)) is not None]
    assert (
        sum(each.cost_micros for each in lines(MINUTE, MINUTE + 60, hour))
        == paid(terms["c"], MINUTE, MINUTE + 60) + beyond
    )


def test_what_is_unused_is_an_item_of_each_day_unless_nobody_asks_when() -> None:
    terms = {"r": [Term(MINUTE + 60, replace(RESERVED, price=2_000_000, committed=2_000_000), places=2)]}
    by_day = CommitmentMeter(terms, MINUTE, MINUTE + 2 * 1440).unused()
    assert [(each.start_minute, each.minutes, each.cost_micros) for each in by_day] == [
        (MINUTE, 1440, 23 * 2_000_000),
        (MINUTE + 1440, 1440, 24 * 2_000_000),
    ]
    (one,) = CommitmentMeter(terms, MINUTE, MINUTE + 2 * 1440, together=True).unused()
    assert (one.purpose, one.node, one.facts.commitment, one.cost_micros) == (Purpose.UNUSED, "", "r", 94_000_000)
    # A place's price, so that what is unused is so many hours of a machine.
    assert one.facts.price == 1_000_000
    assert CommitmentMeter(terms, MINUTE, MINUTE + 60).unused() == []


def test_two_nodes_in_one_place_are_taken_back() -> None:
    meter = CommitmentMeter({"r": [Term(0, RESERVED, 1)]}, MINUTE, MINUTE + 60)
    twice = Item(MINUTE, 60, "a", RESERVED, Purpose.IDLE, "", "", "", "", 1, 1_000_000, committed_micros=1_000_000)
    meter.count([twice, twice._replace(node="b")])
    assert [each.cost_micros for each in meter.unused()] == [-1_000_000]


def test_terms_are_noted_when_they_are_new_at_once_and_when_they_change_from_the_next_minute() -> None:
    term = Term(7, RESERVED, 1)
    assert changed_terms({}, {"r": term}, 7) == {"r": term}
    assert changed_terms({"r": [term]}, {"r": term._replace(minute=8)}, 8) == {}
    more = Term(9, RESERVED, 2)
    assert changed_terms({"r": [term]}, {"r": more}, 9) == {"r": more._replace(minute=10)}
    over = changed_terms({"r": [term]}, {}, 9)["r"]
    assert (over.minute, over.facts.price, over.facts.committed) == (10, 0, 0)
    assert changed_terms({"r": [term, over]}, {}, 11) == {}


def test_a_commitment_covers_no_node_whose_price_the_file_gives() -> None:
    own = Overlay(nodes=(NodePrice("n", 5),), commitments=(Commitment("r", Scope(), 7, count=1),))
    priced, (use,) = price_fleet({"n": Facts(0)}, MINUTE, PriceBook(), own, {})
    assert (priced["n"].commitment, priced["n"].committed, use.unused_micros) == ("", 0, 7)
