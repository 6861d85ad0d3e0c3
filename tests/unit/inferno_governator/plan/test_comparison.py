"""Fleets within each cloud and region."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from inferno_governator.plan import distance
from inferno_governator.plan.comparison import compare
from inferno_governator.plan.curves import Objective
from inferno_governator.plan.question import Demand, Question
from tests.unit.inferno_governator.plan.questions import CURVES, machine, questions


def test_every_cloud_and_region_has_its_row_cheapest_first_and_those_without_a_fleet_last() -> None:
    offers = (
        machine("a", 2.0),
        machine("a", 1.0, spot=True),
        machine("b", 3.0, cloud="gcp", region="europe-west3"),
        machine("c", 9.0, "T4", cloud="azure", region="eastus"),
    )
    rows = compare(Question((Demand("m", 2.0),), offers, CURVES), by_region=True, gap=0.0)
    assert [(row.choice, row.spot, row.plan.micros if row.plan else None) for row in rows] == [
        ("aws", True, 1_000_000),
        ("aws us-east-1", True, 1_000_000),
        ("everything", True, 1_000_000),
        ("aws", False, 2_000_000),
        ("aws us-east-1", False, 2_000_000),
        ("everything", False, 2_000_000),
        ("gcp", False, 3_000_000),
        ("gcp europe-west3", False, 3_000_000),
        ("azure", False, None),
        ("azure eastus", False, None),
    ]
    assert "nobody has measured the model there" in rows[-1].refusal


def test_a_row_says_how_far_its_fleet_is_from_the_callers() -> None:
    demand = Demand("m", 1.0, objective=Objective(first=1.0), callers=(("eu-west-1", 0.5), ("us-east-1", 0.5)))
    rows = compare(Question((demand,), (machine("a", 2.0),), CURVES), by_region=False)
    assert rows[0].network == distance.seconds("eu-west-1", "aws us-east-1")
    assert rows[0].network is not None
    assert 0.05 < rows[0].network < 0.1


@given(questions(limits=False))
@settings(max_examples=15, deadline=None)
def test_no_row_is_cheaper_than_everything_together(question: Question) -> None:
    rows = compare(replace(question, limits=question.limits), by_region=True, gap=0.0, seconds=60)
    for spot in (False, True):
        costs = {row.choice: row.plan.micros for row in rows if row.spot is spot and row.plan}
        if "everything" in costs:
            assert costs["everything"] <= min(costs.values()) + 10
