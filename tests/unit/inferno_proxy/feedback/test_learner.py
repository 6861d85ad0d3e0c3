"""The learner against simulated fleets: what it advises changes what it sees next."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from inferno_proxy.feedback.advice import FULL_WEIGHT, LEAST_WEIGHT, Advice
from inferno_proxy.feedback.learner import Learner
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import Address, FleetView, Model, ModelState, ModelVersion, Phase
from tests.unit.inferno_proxy.feedback.simulation import (
    FAST,
    MODEL,
    SLOW,
    Simulation,
    address,
    answered,
    member,
    seen_by,
    takes,
    three,
)


@pytest.mark.parametrize("rate", [100, 1000])
def test_a_node_ten_times_slower_spoils_the_slowest_hundredth_for_ten_seconds_at_most(rate: float) -> None:
    sim = Simulation(three(), rate)
    sim.run(20)
    assert sim.weight("c") == FULL_WEIGHT
    healthy = sim.p99(1005)
    sim.nodes[2].seconds = SLOW
    sim.run(25)
    assert sim.p99(1030) <= 2 * healthy
    assert sim.share("c", 1030) < 0.03
    assert sim.weight("a") == sim.weight("b") == FULL_WEIGHT
    (reduced,) = [act for _, act in sim.acts if act.kind == "WEIGHT_REDUCED"]
    assert reduced.subject == "c"


@pytest.mark.parametrize("rate", [50, 300, 1000])
def test_a_slow_node_that_is_well_again_has_its_fair_share_within_five_seconds(rate: float) -> None:
    sim = Simulation(three(), rate)
    sim.run(10)
    sim.nodes[2].seconds = SLOW
    sim.run(15)
    assert sim.weight("c") < FULL_WEIGHT / 4
    sim.nodes[2].seconds = FAST
    sim.run(5)
    assert sim.weight("c") == FULL_WEIGHT
    sim.run(5)
    assert sim.share("c", sim.now - 5) > 0.25
    restored = [act for _, act in sim.acts if act.kind == "WEIGHT_RESTORED"]
    assert [act.subject for act in restored] == ["c"]
    assert restored[0].seconds is not None
    assert restored[0].seconds > 10


@pytest.mark.parametrize("seed", range(3))
def test_equal_nodes_stay_equal_whatever_sizes_their_requests_have(seed: int) -> None:
    def sizes(chance: random.Random) -> int:
        return chance.choice([100, 100, 100, 2000])

    sim = Simulation(three(), 100, seed=seed, sizes=sizes)
    sim.run(60)
    assert sim.kinds().count("WEIGHT_REDUCED") == 0


def test_the_node_that_got_the_larger_requests_is_not_slow() -> None:
    learner, view = seen_by(["a", "b"])
    for second in range(20):
        at = 1000.0 + second
        learner.tries(answered("a", 0.010, at, size=100) for _ in range(20))
        learner.tries(answered("b", 0.200, at, size=100_000) for _ in range(20))
        learner.tries([answered("a", 0.200, at, size=100_000), answered("b", 0.010, at, size=100)])
    assert learner.advise(view, 1020.0).weights == {}


def test_a_single_node_has_its_full_weight_however_slow_it_is() -> None:
    sim = Simulation(three(), 100)
    sim.run(5)
    sim.nodes[2].seconds = SLOW
    sim.run(5)
    assert sim.weight("c") < FULL_WEIGHT
    sim.leave("a")
    sim.leave("b")
    sim.run(2)
    assert sim.advice.weights == {}
    sim.nodes[0].seconds = takes(0.5)
    sim.run(20)
    assert sim.advice == Advice()


def test_a_node_that_answers_errors_quickly_attracts_nothing() -> None:
    learner, view = seen_by(["a", "b", "c"])
    for second in range(10):
        at = 1000.0 + second
        learner.tries(answered(node, 0.010, at) for node in "ab" for _ in range(20))
        learner.tries(answered("c", 0.001, at, outcome=Outcome.FAILED) for _ in range(20))
        advice = learner.advise(view, at)
    assert set(advice.weights) == {(MODEL, "c")}
    assert advice.weights[MODEL, "c"] <= 10


def test_a_few_samples_decide_nothing() -> None:
    learner, view = seen_by(["a", "b"])
    learner.tries(answered("a", 0.010, 1000.0) for _ in range(50))
    learner.tries(answered("b", 0.500, 1000.0) for _ in range(5))
    assert learner.advise(view, 1000.5).weights == {}


def test_a_newer_life_of_a_node_starts_anew_and_a_node_that_left_is_forgotten() -> None:
    learner, view = seen_by(["a", "b"])
    for second in range(10):
        learner.tries(answered("a", 0.010, 1000.0 + second) for _ in range(20))
        learner.tries(answered("b", 0.100, 1000.0 + second) for _ in range(20))
        advice = learner.advise(view, 1000.0 + second)
    assert advice.weights[MODEL, "b"] < FULL_WEIGHT
    again = FleetView(2, {**view.members, "b": member("b", address("b"), incarnation=2)})
    assert learner.advise(again, 1010.0).weights == {}
    gone = FleetView(3, {"a": view.members["a"]})
    assert learner.advise(gone, 1011.0).weights == {}
    learner.tries([answered("b", 0.010, 1011.0), answered("a", 0.010, 1011.0, model="unknown")])
    learner.counts([Counts("envoy", "unknown", address("a"), 1, 0, 0, 1, 0.5, 1011.0)])
    assert learner.advise(gone, 1012.0) == Advice()


def test_a_stateful_or_a_drained_node_is_not_weighed() -> None:
    model = Model(MODEL, (ModelVersion("1", ModelState.READY),), stateful=True)
    members = {}
    for name in "ab":
        one = member(name, address(name))
        members[name] = replace(one, node=replace(one.node, models=(model,)))
    learner = Learner(lambda _: 0.02)
    stateful = FleetView(1, members)
    drained = FleetView(2, {name: replace(member(name, address(name)), phase=Phase.DRAINING) for name in "ab"})
    for view in (stateful, drained):
        learner.advise(view, 1000.0)
        learner.tries(answered(name, 0.01 if name == "a" else 1.0, 1000.0) for name in "ab" for _ in range(100))
        assert learner.advise(view, 1000.5).weights == {}


# ------------------------------------------------------------------------------------------------------------- hedging


def test_calls_are_hedged_after_the_slowest_hundredth_and_stay_within_the_budget() -> None:
    sim = Simulation(three(), 200)
    sim.run(20)
    p99 = sim.p99(1005)
    assert p99 < sim.advice.hedge_after[MODEL] < 1.6 * p99
    start = sim.now
    sim.run(60)
    assert sim.repeated(start) <= 0.02
    assert sim.kinds() == ["HEDGING_OPENED"]


def test_a_log_that_prefers_tries_without_an_answer_makes_a_hedge_no_more_frequent_than_it_is() -> None:
    learner, view = seen_by(["a", "b"])
    for tick in range(80):
        at = 1000.0 + 0.5 * tick
        # Of 1000 calls in a second 200 are logged, and with them each of the 10 that a faster node took over.
        learner.counts(Counts("envoy", MODEL, address(node), 250, 245, 0, 1, 0.5, at) for node in "ab")
        for node in "ab":
            learner.tries([answered(node, 0.010, at)] * 49)
            learner.tries([answered(node, 0.030, at, outcome=Outcome.TIMED_OUT)] * 5)
            learner.tries([replace(answered(node, 0.010, at), attempt=2)])
        advice = learner.advise(view, at)
    assert [act.kind for act in learner.take_acts()] == ["HEDGING_OPENED"]
    assert 0.005 < advice.hedge_after[MODEL] < 0.04


def test_mixed_sizes_are_not_hedged_to_death() -> None:
    def sizes(chance: random.Random) -> int:
        return 2000 if chance.random() < 0.05 else 100

    sim = Simulation(three(places=16), 200, sizes=sizes)
    sim.run(30)
    start = sim.now
    sim.run(90)
    assert sim.repeated(start) <= 0.02


def test_a_fleet_that_slows_down_as_a_whole_is_not_hedged_and_not_weighed() -> None:
    sim = Simulation(three(), 300)
    sim.run(20)
    assert MODEL in sim.advice.hedge_after
    for node in sim.nodes:
        node.seconds = takes(0.045)
    start = sim.now
    sim.run(15)
    assert sim.advice.hedge_after == {}
    assert "HEDGING_CLOSED" in sim.kinds()
    assert sim.repeated(start + 2) <= 0.02
    # What was sent twice until that was noticed does not double the load either.
    assert sim.repeated(start) <= 0.2


def test_hedging_opens_again_when_there_is_room_and_waits_longer_each_time() -> None:
    sim = Simulation(three(), 300)
    sim.run(20)
    for round_ in range(2):
        for node in sim.nodes:
            node.seconds = takes(0.030)
        sim.run(5)
        assert sim.advice.hedge_after == {}, round_
        for node in sim.nodes:
            node.seconds = FAST
        sim.run(30)
        assert MODEL in sim.advice.hedge_after, round_
    opened = [(at, act) for at, act in sim.acts if act.kind == "HEDGING_OPENED"]
    assert [act.seconds is None for _, act in opened] == [True, False, False]
    assert opened[2][1].seconds > opened[1][1].seconds  # type: ignore[operator]


def test_without_a_budget_nothing_is_hedged() -> None:
    sim = Simulation(three(), 200, budget=0.0)
    sim.run(20)
    assert sim.acts == []
    assert sim.repeated(1000) == 0


def test_a_single_node_is_not_hedged() -> None:
    sim = Simulation(three()[:1], 100)
    sim.run(20)
    assert sim.advice == Advice()


# --------------------------------------------------------------------------------------------------------------- stuck


@pytest.mark.parametrize("budget", [0.0, 0.02])
def test_a_node_that_hangs_leaves_and_comes_back_when_it_answers(budget: float) -> None:
    sim = Simulation(three(), 200, budget=budget)
    sim.run(10)
    sim.nodes[2].hangs = True
    sim.run(3)
    if not budget:
        assert set(sim.advice.stuck) == {(MODEL, "c")}
        assert "while others answered" in sim.advice.stuck[MODEL, "c"]
    else:
        # Its calls are taken away from it before they say more than that it is slow.
        assert sim.weight("c") < FULL_WEIGHT / 4
    sim.run(32)
    assert sim.share("c", sim.now - 20) < 0.03
    node = sim.nodes[2]
    node.hangs, node.running = False, 0
    sim.run(40)
    assert sim.advice.stuck == {}
    assert sim.share("c", sim.now - 5) > 0.25
    if not budget:
        assert sim.kinds().count("ENDPOINT_STUCK") == 1
        (freed,) = [act for _, act in sim.acts if act.kind == "ENDPOINT_FREED"]
        assert freed.seconds is not None
        assert freed.seconds > 25


def test_when_all_hang_none_leaves() -> None:
    sim = Simulation(three(), 200)
    sim.run(10)
    for node in sim.nodes:
        node.hangs = True
    sim.run(20)
    assert sim.advice.stuck == {}


def test_thousands_that_hang_at_once_are_judged_in_a_moment() -> None:
    places = {f"n{number}": Address(f"10.1.{number // 250}.{number % 250}", 8001) for number in range(4000)}
    view = FleetView(1, {name: member(name, where) for name, where in places.items()})
    learner = Learner(lambda _: 0.02)
    learner.advise(view, 999.0)
    learner.tries(Try(MODEL, where, Outcome.ANSWERED, 0.01, 999.0) for where in places.values())
    for at in (1000.0, 1001.0, 1002.0):
        learner.counts(Counts("envoy", MODEL, where, 2, 0, 0, 4, 0.5, at) for where in places.values())
    began = time.process_time()
    assert learner.advise(view, 1002.0).stuck == {}
    assert time.process_time() - began < 6


def test_one_long_call_is_no_evidence() -> None:
    sim = Simulation(three(), 200, budget=0.0)
    sim.run(10)
    learner, view = sim.learner, FleetView(1, {n.name: member(n.name, n.address) for n in sim.nodes})
    for tick in range(20):
        at = sim.now + 0.5 * tick
        learner.counts(Counts("envoy", MODEL, n.address, 50, 50, 0, 1, 0.5, at) for n in sim.nodes[:2])
        learner.counts([Counts("envoy", MODEL, sim.nodes[2].address, int(not tick), 0, 0, 1, 0.5, at)])
        assert learner.advise(view, at).stuck == {}


def test_the_least_weight_is_a_call_now_and_then() -> None:
    learner, view = seen_by(["a", "b"])
    for second in range(10):
        learner.tries(answered("a", 0.001, 1000.0 + second) for _ in range(50))
        learner.tries(answered("b", 10.0, 1000.0 + second) for _ in range(50))
        advice = learner.advise(view, 1000.0 + second)
    assert advice.weights == {(MODEL, "b"): LEAST_WEIGHT}


def test_what_is_known_of_endpoints_is_what_advice_is_made_of() -> None:
    sim = Simulation(three(), 300)
    sim.run(10)
    sim.nodes[2].seconds = SLOW
    sim.run(5)
    known = sim.learner.observations(MODEL, sim.now)
    assert known["a"].seconds < known["c"].seconds
    assert known["a"].times_slower < 1.5 < known["c"].times_slower
    assert known["a"].samples > 100
    assert all(each.latency_age is not None and each.latency_age < 10 for each in known.values())
    assert all(each.report_age is not None and each.report_age < 2 for each in known.values())
    assert sim.learner.observations("unknown", sim.now) == {}


def test_the_failed_part_and_the_calls_under_way_are_those_reported() -> None:
    learner = Learner(lambda _: 0.0)
    learner.advise(FleetView(1, {"a": member("a", address("a"))}), 0.0)
    learner.counts([Counts("envoy", MODEL, address("a"), 10, 6, 2, 2, 0.5, 1.0)])
    (known,) = learner.observations(MODEL, 2.0).values()
    assert (known.failed, known.in_flight, known.report_age) == (0.25, 2, 1.0)
    assert (known.samples, known.latency_age, known.times_slower) == (0.0, None, 0.0)
