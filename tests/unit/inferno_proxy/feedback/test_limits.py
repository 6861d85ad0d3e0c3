from __future__ import annotations

import pytest

from inferno_proxy.feedback.limits import Admission, Limits, admissions
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.feedback.roster import Roster
from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from tests.unit.inferno_proxy.feedback.fleets import Fleet


@pytest.fixture
def fleet() -> Fleet:
    """It can do 60 calls a second, and has been doing 30."""
    made = Fleet(Limits())
    made.run(30, 20)
    return made


def test_without_an_overload_there_is_no_limit(fleet: Fleet) -> None:
    fleet.run(57, 60)
    assert (fleet.limits.limits, fleet.refused, fleet.acts) == ({}, 0, [])


def test_three_times_the_capacity_is_refused_but_for_what_waits_a_second(fleet: Fleet) -> None:
    fleet.run(180, 10)
    assert fleet.acts == ["OVERLOAD_SHEDDING"]
    before = fleet.answered
    fleet.run(180, 10)
    assert fleet.answered - before >= 0.99 * 60 * 10
    assert 40 <= fleet.limits.limits["m"] <= 90


def test_an_overload_is_seen_before_calls_have_waited_twice_as_long_as_allowed(fleet: Fleet) -> None:
    fleet.run(180, 1.6)
    assert fleet.acts == ["OVERLOAD_SHEDDING"]


def test_a_burst_that_waits_less_than_allowed_is_let_through(fleet: Fleet) -> None:
    fleet.run(180, 0.4)
    fleet.run(30, 20)
    assert (fleet.refused, fleet.acts) == (0, [])


def test_an_overload_ends_when_half_of_the_limit_is_enough(fleet: Fleet) -> None:
    fleet.run(180, 10)
    fleet.run(30, 10)
    assert fleet.acts == ["OVERLOAD_SHEDDING", "OVERLOAD_OVER"]
    assert fleet.limits.limits == {}


def test_the_limit_follows_a_capacity_that_grows(fleet: Fleet) -> None:
    fleet.run(180, 10)
    fleet.work = 0.025
    before = fleet.answered
    fleet.run(300, 20)
    assert fleet.answered - before >= 0.95 * 120 * 20


def test_the_limit_follows_a_capacity_that_shrinks(fleet: Fleet) -> None:
    fleet.run(180, 10)
    before = fleet.limits.limits["m"]
    fleet.work = 0.1
    fleet.run(180, 20)
    assert 0.3 * before < fleet.limits.limits["m"] < 0.8 * before


def test_long_calls_may_wait_for_two_others() -> None:
    fleet = Fleet(Limits(), work=2.0, admissions={"m": Admission(1.0, 6)})
    fleet.run(0.5, 60)
    assert not fleet.acts
    fleet.run(5, 60)
    assert fleet.acts == ["OVERLOAD_SHEDDING"]
    before = fleet.answered
    fleet.run(5, 60)
    assert fleet.answered - before >= 0.95 * 1.5 * 60
    assert 6 <= fleet.limits.limits["m"] <= 12


def test_a_limit_is_never_below_what_the_nodes_execute_at_once() -> None:
    fleet = Fleet(Limits(), admissions={"m": Admission(1.0, 500)})
    fleet.run(30, 20)
    fleet.run(300, 10)
    assert fleet.limits.limits["m"] == 500


def test_a_model_that_is_not_to_be_limited_is_not(fleet: Fleet) -> None:
    fleet.run(180, 10)
    fleet.admissions = {}
    fleet.run(180, 1)
    assert fleet.limits.limits == {}


def test_a_limit_is_shared_out_among_data_planes(fleet: Fleet) -> None:
    fleet.run(180, 10)
    alone = fleet.limits.limits["m"]
    second = Counts("other", "m", Address("10.0.0.1", 1), 0, 0, 0, 0, 0.5, fleet.now)
    fleet.limits.judge([], [second], fleet.admissions, fleet.now)
    assert fleet.limits.limits["m"] == (alone + 1) // 2


def test_one_endpoint_without_a_queue_keeps_the_model_open(fleet: Fleet) -> None:
    limits, now = fleet.limits, fleet.now
    for _ in range(10):
        now += 0.5
        slow, fast = Address("10.0.0.1", 1), Address("10.0.0.1", 2)
        tries = [Try("m", slow, Outcome.ANSWERED, 5.0, now)] * 8 + [Try("m", fast, Outcome.ANSWERED, 0.05, now)] * 8
        counts = [Counts("envoy", "m", slow, 8, 8, 0, 80, 0.5, now), Counts("envoy", "m", fast, 8, 8, 0, 1, 0.5, now)]
        assert limits.judge(tries, counts, fleet.admissions, now) == []


def test_callers_who_cannot_wait_do_not_hide_a_queue() -> None:
    limits, where, admission = Limits(), Address("10.0.0.1", 1), {"m": Admission(1.0, 2)}
    for step in range(20):
        now = step * 0.5
        given_up = 8 if step > 10 else 0
        outcome = Outcome.CANCELLED if step % 2 else Outcome.TIMED_OUT
        tries = [Try("m", where, Outcome.ANSWERED, 0.2, now)] * 4 + [Try("m", where, outcome, 3.0, now)] * given_up
        tries += [Try("m", where, Outcome.CANCELLED, 0.01, now)] * 8  # the faster try of a hedged call had won
        limits.judge(tries, [Counts("envoy", "m", where, 4, 4, 0, 8 * given_up, 0.5, now)], admission, now)
    assert "m" in limits.limits


def test_streams_and_failures_say_nothing_of_how_long_a_call_takes() -> None:
    limits, where = Limits(), Address("10.0.0.1", 1)
    for step in range(20):
        now = step * 0.5
        tries = [
            Try("m", where, Outcome.ANSWERED, 9.0 * step, now, stream=True),
            Try("m", where, Outcome.RESET, 9, now),
        ]
        counts = [Counts("envoy", "m", where, 3, 3, 0, 500, 0.5, now)]
        assert limits.judge(tries * 8, counts, {"m": Admission(1.0, 2)}, now) == []


def test_a_time_without_a_queue_that_was_a_mistake_is_learned_anew() -> None:
    limits, where = Limits(), Address("10.0.0.1", 1)
    admission = {"m": Admission(0.1, 4)}

    def look(now: float, seconds: float, under_way: int) -> None:
        tries = [Try("m", where, Outcome.ANSWERED, seconds, now)] * 8
        limits.judge(tries, [Counts("envoy", "m", where, 1, 1, 0, under_way, 0.5, now)], admission, now)

    look(0.0, 0.01, 1)  # refused inputs, answered at once
    for step in range(1, 100):
        look(step * 0.5, 1.0, 6 if step == 1 else 4)
    assert limits.limits["m"] == 4
    for step in range(100, 103):
        look(step * 0.5, 0.5, 4)
    assert limits.limits["m"] > 4


def test_what_is_not_seen_any_more_is_forgotten(fleet: Fleet) -> None:
    fleet.run(180, 10)
    acts = [a.kind for step in range(9) for a in fleet.limits.judge([], [], fleet.admissions, fleet.now + 1 + step)]
    assert acts == ["OVERLOAD_OVER"]
    fleet.limits.judge([], [], fleet.admissions, fleet.now + 700)
    assert fleet.limits.limits == {}


def test_the_lowest_limit_is_what_the_nodes_execute_at_once_and_as_much_waiting() -> None:
    ready = (ModelVersion("1", ModelState.READY),)
    batching = Model("batching", ready, max_batch_size=8, instance_count=2)
    unknown, patient = Model("unknown", ready), Model("patient", ready)
    stream, loading = Model("stream", ready, decoupled=True), Model("unknown", (ModelVersion("1", ModelState.LOADING),))
    members = [
        Member(Node(name, 1, Address(name, 8001), models=models), phase, Source.AGENT, 0.0)
        for name, phase, models in (
            ("a", Phase.SERVING, (batching, unknown, patient, stream)),
            ("b", Phase.SERVING, (batching, loading)),
            ("c", Phase.DRAINING, (batching,)),
        )
    ]
    roster = Roster()
    roster.follow(FleetView(1, {member.node.node_id: member for member in members}))
    found = admissions(roster.at_once, lambda model: 0.0 if model == "patient" else 1.5)
    assert found == {"batching": Admission(1.5, 64), "unknown": Admission(1.5, 2)}
