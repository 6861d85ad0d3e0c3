from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.change import Change, account, change
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.usage import Facts
from tests.unit.inferno_governator.items import H100, L4, bills, idle, item, of_nodes, unused

_PARTS = ("price", "demand", "idle", "effort", "models", "nodes")


def between(before: list[Item], after: list[Item]) -> Change:
    return change(account(before), account(after))


def parts(made: Change) -> dict[str, int]:
    """The parts that are not zero."""
    return {name: value for name in _PARTS if (value := getattr(made, f"{name}_micros"))}


def priced(facts: Facts, price: int) -> Facts:
    return replace(facts, price=price)


BEFORE = [item(requests=100, hours=2), idle(hours=2), item("node-2", L4, hours=3, requests=50), idle("node-2", L4)]


@given(bills, bills)
def test_the_parts_add_up_to_the_change_exactly(before: list[Item], after: list[Item]) -> None:
    made = between(before, after)
    assert sum(getattr(made, f"{name}_micros") for name in _PARTS) == made.difference_micros
    assert made.difference_micros == sum(i.cost_micros for i in after) - sum(i.cost_micros for i in before)
    four = made.price_micros + made.demand_micros + made.utilization_micros + made.mix_micros
    assert four == made.difference_micros


@given(bills)
def test_nothing_changes_between_equals(bill: list[Item]) -> None:
    assert parts(between(bill, list(reversed(bill)))) == {}


@given(bills, bills)
def test_the_other_way_round_is_the_negative(before: list[Item], after: list[Item]) -> None:
    there, back = between(before, after), between(after, before)
    # Both are rounded to whole micro-dollars.
    assert all(abs(getattr(there, f"{name}_micros") + getattr(back, f"{name}_micros")) <= 1 for name in _PARTS)


@given(of_nodes, st.integers(0, 5))
def test_only_prices_changed(bill: list[Item], factor: int) -> None:
    after = [
        i._replace(cost_micros=factor * i.cost_micros, facts=priced(i.facts, factor * i.facts.price)) for i in bill
    ]
    assert parts(between(bill, after)).keys() <= {"price"}


@given(of_nodes, st.integers(1, 5))
def test_only_demand_changed_and_the_nodes_with_it(bill: list[Item], factor: int) -> None:
    after = [
        i._replace(
            cost_micros=factor * i.cost_micros,
            paid_micros=factor * i.paid_micros,
            requests=factor * i.requests,
            errors=factor * i.errors,
        )
        for i in bill
    ]
    made = parts(between(bill, after))
    worked = any(i.requests + i.errors and i.paid_micros for i in bill)
    # Without a request there is no demand that could have changed.
    assert made.keys() <= ({"demand"} if worked else {"idle"})


def test_only_idleness_changed() -> None:
    after = [*BEFORE, idle(hours=3, cost_micros=3 * 6_880_000), idle("node-2", L4, hours=3)]
    # Both nodes are paid for 1.75 times as long, so their mix stays.
    assert [sum(i.paid_micros for i in after if i.node == n) for n in ("node-1", "node-2")] == [25_200_000_000] * 2
    assert parts(between(BEFORE, after)) == {"idle": 3 * 6_880_000 + 3 * 805_000}


def test_only_the_effort_changed() -> None:
    assert parts(between([item(requests=100)], [item(requests=100, hours=2)])) == {"effort": 6_880_000}


def test_only_the_models_asked_for_changed() -> None:
    before = [item(requests=100, hours=1), item(model="small", requests=100, hours=0.5)]
    after = [item(requests=50, hours=0.5), item(model="small", requests=150, hours=0.75)]
    assert parts(between(before, after)) == {"models": -6_880_000 // 4}


def test_a_model_that_comes_is_mix_and_demand() -> None:
    made = between([item(requests=100)], [item(requests=100), item(model="new", requests=100, hours=3)])
    assert parts(made).keys() == {"demand", "models"}
    # Twice the requests, and a mean request costs twice the time.
    assert made.demand_ratio == 2
    assert made.difference_micros == 3 * 6_880_000


def test_only_the_nodes_paid_for_changed() -> None:
    made = between([item(requests=100)], [item("node-2", L4, requests=100)])
    assert parts(made) == {"nodes": 805_000 - 6_880_000}
    assert made.price_ratio is None


def test_a_node_replaced_by_one_of_its_nature_at_another_price_is_a_price() -> None:
    made = between([item("old", requests=1)], [item("new", priced(H100, 5_000_000), requests=1)])
    assert parts(made) == {"price": -1_880_000}
    assert made.price_ratio == Fraction(500, 688)


def test_another_node_of_the_same_nature_and_price_for_more_requests_is_demand() -> None:
    assert parts(between([item(requests=1)], [item(requests=1), item("more", requests=1)])) == {"demand": 6_880_000}


def test_twice_the_demand_on_the_same_nodes_is_paid_for_by_utilisation() -> None:
    made = between([item(requests=10), idle(hours=3)], [item(requests=20, hours=2), idle(hours=2)])
    assert made.difference_micros == 0
    assert made.demand_micros == -made.idle_micros > 0
    assert (made.utilization_before, made.utilization_after) == (Fraction(1, 4), Fraction(1, 2))


def test_without_any_request_before_the_work_is_demand_and_the_idleness_utilisation() -> None:
    made = between([idle(hours=3)], [item(requests=10, hours=2), idle(hours=2)])
    assert parts(made) == {"demand": 2 * 6_880_000, "idle": -6_880_000}


def test_what_there_was_not_before_is_demand_and_idleness() -> None:
    made = between([], [item(requests=10, hours=2), idle(hours=2)])
    assert parts(made) == {"demand": 2 * 6_880_000, "idle": 2 * 6_880_000}
    assert (made.price_ratio, made.demand_ratio, made.utilization_before) == (None, None, None)


def test_a_price_that_was_unknown_is_a_price() -> None:
    made = between([item(facts=priced(H100, 0), requests=10)], [item(requests=10)])
    assert parts(made) == {"price": 6_880_000}
    assert made.price_ratio is None


def test_work_for_no_request_is_no_demand() -> None:
    warm = item(model="warm", hours=1, requests=0)
    assert parts(between([item(requests=1), warm], [item(requests=1), idle(hours=1)])) == {}


def test_overhead_counts_as_time_without_work() -> None:
    starting = item(hours=1, purpose=Purpose.OVERHEAD)
    assert parts(between([item(requests=1)], [item(requests=1), starting])) == {"idle": 6_880_000}


def test_a_commitment_that_nobody_uses_is_time_without_work() -> None:
    after = [*BEFORE, unused(4_000_000, H100)]
    made = between(BEFORE, after)
    assert parts(made) == {"idle": 4_000_000}
    assert made.utilization_before == made.utilization_after
