from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator import cost_wire, item_wire
from inferno_governator.analysis.breakdown import Dimension
from inferno_governator.analysis.cost_report import CostReport, Question, Reporter, pieces
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.analysis.periods import Period
from inferno_runtime.errors import InvalidInput
from tests.unit.inferno_governator.items import L4, MINUTE, bills, idle, item

DAYS = Period(MINUTE, MINUTE + 3 * 1440)
BEFORE = Period(MINUTE - 3 * 1440, MINUTE)


def report(items: Sequence[Item], before: Sequence[Item] = (), **asked: Any) -> CostReport:
    reporter = Reporter(Question(asked.pop("period", DAYS), **asked))
    reporter.add(items)
    reporter.add_before(before)
    return reporter.report()


def test_lines_stand_beside_what_they_cost_before_also_those_that_are_gone() -> None:
    made = report([item(), item(model="new")], [item(), item(model="gone")], by=[Dimension.MODEL], compare=BEFORE)
    beside = {each.line.values[0]: (each.line.sums.cost_micros, each.before_micros) for each in made.lines}
    assert beside == {"llama": (6_880_000, 6_880_000), "new": (6_880_000, 0), "gone": (0, 6_880_000)}
    assert made.change is not None
    assert made.change.difference_micros == 0


def test_the_rest_is_folded_into_one_line() -> None:
    bill = [item(f"n{number}", hours=number, requests=1) for number in range(1, 6)]
    made = report(bill, bill[:2], by=[Dimension.NODE], limit=2, compare=BEFORE)
    assert [each.line.values for each in made.lines] == [("n5",), ("n4",), ()]
    others = made.lines[-1]
    assert (others.line.others, others.line.sums.requests, others.before_micros) == (3, 3, 3 * 6_880_000)


def test_the_timeline_tells_the_dearest_lines_apart() -> None:
    bill = [
        item(f"n{day}-{node}", hours=9 - node, start_minute=MINUTE + day * 1440) for day in (0, 2) for node in range(9)
    ]
    made = report(
        [*bill, idle(start_minute=MINUTE + 60)],
        by=[Dimension.MODEL],
        timeline=True,
        period=Period(MINUTE, MINUTE + 90 * 1440),
    )
    assert made.timeline is not None
    assert made.timeline.step_minutes == 7 * 1440
    made = report(bill, by=[Dimension.NODE], timeline=True)
    assert made.timeline is not None
    first, second, third = [
        [bucket for bucket in made.timeline.buckets if bucket.start_minute // 1440 == (MINUTE + day * 1440) // 1440]
        for day in range(3)
    ]
    assert made.timeline.step_minutes == 60
    assert (len(first), len(second), len(third)) == (24, 24, 24)
    assert len(made.timeline.lines) == 7
    assert first[0].cost_micros == sum(each.cost_micros for each in bill[:9]) == sum(first[0].line_micros)
    assert first[0].line_micros[-1] > 0
    assert not any(bucket.cost_micros for bucket in second)


@given(bills, st.sampled_from(Dimension), st.integers(0, 3))
def test_lines_and_buckets_add_up_to_the_total(bill: list[Item], dimension: Dimension, limit: int) -> None:
    made = report(bill, by=[dimension], timeline=True, limit=limit)
    total = sum(each.cost_micros for each in bill)
    assert made.total.cost_micros == made.bill_micros == total
    assert sum(each.line.sums.cost_micros for each in made.lines) == total
    assert made.timeline is not None
    assert sum(bucket.cost_micros for bucket in made.timeline.buckets) == total
    for bucket in made.timeline.buckets:
        assert sum(bucket.line_micros) == bucket.cost_micros
        # Only what is unused takes back what was billed twice.
        assert min(bucket.line_micros) >= 0 or any(each.cost_micros < 0 for each in bill)


@given(bills, bills, st.lists(st.sampled_from(Dimension), max_size=2, unique=True), st.booleans())
def test_a_report_travels_as_it_is(now: list[Item], before: list[Item], by: list[Dimension], compares: bool) -> None:
    compares = compares and not {Dimension.DAY, Dimension.HOUR} & set(by)
    where = {Dimension.PURPOSE: frozenset({"work", "idle"})}
    made = report(now, before, by=tuple(by), where=where, timeline=True, compare=BEFORE if compares else None)
    sent = cost_wire.encode(made)
    again = cost_wire.decode(sent)
    # Ratios are doubles on the wire.
    assert cost_wire.encode(again) == sent
    assert (again.lines, again.total, again.timeline, again.where) == (made.lines, made.total, made.timeline, where)


def test_a_grain_less_than_a_day_cuts_the_period_where_it_begins() -> None:
    assert pieces(Period(50, 130), 60) == [Period(50, 60), Period(60, 120), Period(120, 130)]
    assert pieces(Period(60, 120), 60) == [Period(60, 120)]
    assert pieces(DAYS, 1440) == [DAYS]


@pytest.mark.parametrize(
    ("asked", "grain"),
    [
        ({"by": [Dimension.NODE]}, 1440),
        ({"by": [Dimension.HOUR]}, 60),
        ({"timeline": True}, 60),
        ({"timeline": True, "period": Period(0, 400)}, 5),
        ({"timeline": True, "period": Period(0, 31 * 1440)}, 1440),
    ],
)
def test_items_are_read_no_longer_than_is_told_apart(asked: dict[str, Any], grain: int) -> None:
    assert Question(asked.pop("period", DAYS), **asked).grain == grain


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"by": [Dimension.HOUR], "period": Period(0, 32 * 1440)}, "More than 31 days"),
        ({"by": [Dimension.DAY], "compare": BEFORE}, "line by line"),
    ],
)
def test_what_cannot_be_answered_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        report([], **asked)
    assert caught.value.fix


def test_what_a_node_was_paid_for_is_told_by_its_purpose() -> None:
    made = report([item(), idle("b", L4), item("c", purpose=Purpose.OVERHEAD)], by=[Dimension.PURPOSE])
    assert {each.line.values for each in made.lines} == {("work",), ("idle",), ("overhead",)}


@given(bills)
def test_items_travel_as_they_are(bill: list[Item]) -> None:
    # What an hour uses of a commitment stays behind: what the item used of it goes along.
    told = [each._replace(facts=replace(each.facts, committed=0)) for each in bill]
    assert item_wire.decode(item_wire.encode(bill)) == told


def test_a_question_tells_apart_what_it_asks_about_and_what_the_causes_of_a_change_need() -> None:
    by_team = Question(DAYS, (Dimension.TEAM, Dimension.DAY, Dimension.GPU), {Dimension.MODEL: {"m"}})
    assert by_team.apart == {"team", "model"}
    assert replace(by_team, compare=BEFORE).apart == {"team", "model", "version", "node"}
