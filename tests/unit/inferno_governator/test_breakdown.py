from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.analysis.breakdown import OF_WORK, Breakdown, Dimension, Filters, Line
from inferno_governator.analysis.items import Item, Purpose
from tests.unit.inferno_governator.items import H100, L4, MINUTE, bills, idle, item

_dimensions = st.lists(st.sampled_from(Dimension), max_size=4, unique=True)


def break_down(items: Sequence[Item], by: Sequence[Dimension], where: Filters | None = None) -> list[Line]:
    made = Breakdown(by, where)
    made.add(items)
    return made.lines()


def test_work_is_by_model_and_idleness_and_overhead_are_lines_of_their_own() -> None:
    bill = [item(hours=0.25, requests=9), idle(hours=0.5), item(hours=0.25, purpose=Purpose.OVERHEAD)]
    lines = break_down(bill, [Dimension.MODEL])
    assert [(line.values, line.purpose, line.sums.cost_micros) for line in lines] == [
        (("llama",), Purpose.WORK, 1_720_000),
        (("",), Purpose.IDLE, 3_440_000),
        (("",), Purpose.OVERHEAD, 1_720_000),
    ]


def test_a_line_of_a_node_tells_its_idleness_and_overhead_as_parts() -> None:
    bill = [item(hours=0.25), idle(hours=0.5), item(hours=0.25, purpose=Purpose.OVERHEAD), item("other", L4)]
    first, second = break_down(bill, [Dimension.NODE])
    assert (first.values, first.purpose) == (("node-1",), None)
    assert (first.sums.cost_micros, first.sums.idle_micros, first.sums.overhead_micros) == (
        6_880_000, 3_440_000, 1_720_000,
    )  # fmt: skip
    assert (first.sums.worked_micros, first.sums.paid_micros) == (900_000_000, 3_600_000_000)
    assert second.values == ("other",)


def test_several_dimensions_at_once_the_dearest_line_first() -> None:
    bill = [item("b", L4, team="search", key="k1"), item("a", H100, team="search", key="k2"), item("b", L4, team="ads")]
    lines = break_down(
        bill, [Dimension.TEAM, Dimension.GPU, Dimension.SPOT, Dimension.INSTANCE, Dimension.REGION, Dimension.PROVIDER]
    )
    assert [line.values for line in lines] == [
        ("search", "NVIDIA H100", "on-demand", "p5.4xlarge", "us-east-1", "aws"),
        ("ads", "NVIDIA L4", "spot", "g6.xlarge", "eu-west-1", ""),
        ("search", "NVIDIA L4", "spot", "g6.xlarge", "eu-west-1", ""),
    ]


def test_days_and_hours_are_in_order_and_in_utc() -> None:
    bill = [item(start_minute=MINUTE + 1441), item(start_minute=MINUTE + 61, cost_micros=1)]
    assert [line.values for line in break_down(bill, [Dimension.DAY])] == [("2026-06-21",), ("2026-06-22",)]
    hours = [line.values[0] for line in break_down(bill, [Dimension.HOUR])]
    assert hours == ["2026-06-21T01:00Z", "2026-06-22T00:00Z"]


def test_filters_choose_lines_and_the_whole_bill_is_still_told() -> None:
    made = Breakdown([Dimension.MODEL], {Dimension.TEAM: ["ads", "search"], Dimension.REGION: ["us-east-1"]})
    made.add([item(team="ads"), item(team="other"), item("b", L4, team="search"), idle()])
    assert [line.values for line in made.lines()] == [("llama",)]
    assert (made.total().cost_micros, made.bill_micros) == (6_880_000, 3 * 6_880_000 + 805_000)


@given(bills, _dimensions)
def test_lines_add_up_to_the_bill_whatever_they_are_grouped_by(bill: list[Item], by: list[Dimension]) -> None:
    made = Breakdown(by)
    made.add(bill)
    lines = made.lines()
    assert sum(line.sums.cost_micros for line in lines) == sum(item.cost_micros for item in bill)
    assert sum(line.sums.requests for line in lines) == sum(item.requests for item in bill)
    assert sum(line.sums.paid_micros for line in lines) == sum(item.paid_micros for item in bill)
    for line in lines:
        spent = line.sums.cost_micros - line.sums.unused_micros
        assert 0 <= line.sums.idle_micros + line.sums.overhead_micros <= spent
        unused = line.purpose is Purpose.UNUSED
        assert (line.purpose is None) == (not unused and OF_WORK.isdisjoint(by))
        # What is unused of commitments is in no other line, but where there is one line for all.
        assert unused or not by or not line.sums.unused_micros


@given(bills, bills, _dimensions)
def test_a_bill_in_two_pieces_is_the_bill_in_one(first: list[Item], second: list[Item], by: list[Dimension]) -> None:
    made = Breakdown(by)
    made.add(first)
    made.add(second)
    assert made.lines() == break_down([*second, *first], by)


@given(bills, st.sampled_from(Dimension))
def test_filters_for_each_value_share_the_bill_out(bill: list[Item], dimension: Dimension) -> None:
    values = {line.values[0] for line in break_down(bill, [dimension])}
    costs = 0
    for value in values:
        one = Breakdown([], {dimension: [value]})
        one.add(bill)
        costs += one.total().cost_micros
    assert costs == sum(item.cost_micros for item in bill)
