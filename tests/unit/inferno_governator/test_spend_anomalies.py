"""What is out of the ordinary in spend per request, and what is not."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.anomalies import alarms, episodes
from benchmarks.spend_fleet import Injection, Trace, bill, traces
from inferno_governator.watch.anomalies import STRETCH, Anomaly, SpendDetector, Stretch

TRACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "traces"
DAY = 144


def judge(costs: list[int], requests: list[int], *, nodes: bool = False) -> list[Anomaly]:
    detector = SpendDetector(nodes=nodes)
    seen = (
        detector.see(Stretch(at * STRETCH, cost, count, 600_000_000))
        for at, (cost, count) in enumerate(zip(costs, requests, strict=True))
    )
    return [each for each in seen if each]


def noise(size: int, seed: int = 1) -> list[int]:
    rng = random.Random(seed)
    return [round(100_000 * rng.uniform(0.9, 1.1)) for _ in range(size)]


def test_a_doubling_is_found_in_its_first_stretch_with_what_was_usual() -> None:
    (found,) = judge([*noise(DAY), 200_000], [1000] * (DAY + 1))
    assert found.stretch.minute == DAY * STRETCH
    assert 1.8 < found.times < 2.2
    assert found.usual_minute < DAY * STRETCH


def test_demand_that_doubles_with_its_cost_is_no_anomaly() -> None:
    costs = noise(DAY)
    assert not judge([*costs, *(2 * each for each in costs)], [1000] * DAY + [2000] * DAY)


def test_nodes_that_outlive_a_burst_are_none_and_nodes_that_stay_are_one() -> None:
    after = [500] * 12
    requests = [*[1000] * DAY, *after]
    released = [*noise(DAY), *[100_000] * 4, *[50_000] * 8]
    assert not judge(released, requests, nodes=True)
    assert judge([*noise(DAY), *[100_000] * 12], requests, nodes=True)
    assert judge(released, requests), "a model's own share of the work has no lag"


def test_a_price_that_doubles_is_found_while_the_fleet_is_small_for_its_last_hour() -> None:
    # Demand and fleet fell to half; the highest demand of the last hour hides a doubled price.
    detector = SpendDetector(nodes=True)
    for at, cost in enumerate(noise(DAY)):
        assert detector.see(Stretch(at * STRETCH, cost, 1000, 600_000_000)) is None
    assert detector.see(Stretch(DAY * STRETCH, 100_000, 500, 300_000_000)) is not None


def test_little_history_or_few_requests_say_nothing() -> None:
    assert not judge([*noise(30), 900_000], [1000] * 31)
    assert not judge([*noise(DAY), 900_000], [10] * (DAY + 1))
    assert not judge([0] * 200, [1000] * 200)


def test_the_new_price_of_everything_is_usual_after_a_day() -> None:
    found = judge([*noise(DAY), *(2 * each for each in noise(2 * DAY, 2))], [1000] * 3 * DAY)
    assert found
    assert found[-1].stretch.minute < 2 * DAY * STRETCH


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 10_000), st.integers(0, 100))
def test_the_unit_of_money_changes_no_verdict(unit: int, seed: int) -> None:
    costs = [*noise(DAY, seed), *(round(each * math.exp(seed / 100)) for each in noise(12, seed + 1))]
    plain = judge(costs, [1000] * len(costs))
    other = judge([each * unit for each in costs], [1000] * len(costs))
    assert [each.stretch.minute for each in plain] == [each.stretch.minute for each in other]


def test_the_alarms_of_one_hour_are_one() -> None:
    assert episodes([10, 20, 30, 200, 260]) == 2


@pytest.mark.parametrize("kind", ["price", "runaway", "utilisation"])
def test_a_fleet_whose_spend_doubles_is_found_within_twenty_minutes(kind: str) -> None:
    rng = random.Random(3)
    demand = [round(6000 * (1 + 0.3 * math.sin(at / 229)) * rng.uniform(0.9, 1.1)) for at in range(1600)]
    trace = Trace("made", demand, 1200.0)
    assert not alarms(bill(trace, None, 30, 1))
    (first, *_) = alarms(bill(trace, Injection(kind, 1500), 30, 1))
    assert 1500 < first <= 1520


@pytest.mark.skipif(not TRACES.is_dir(), reason="the given traces are not beside this checkout (../shared/data/traces)")
def test_the_given_traces_have_at_most_one_false_alarm_a_day() -> None:
    for trace in traces(TRACES):
        assert episodes(alarms(bill(trace, None, 30, 11))) <= trace.days
