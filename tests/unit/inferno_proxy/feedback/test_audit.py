"""What nodes report of their load, held against simulated fleets and against each other."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferno_proxy.feedback.advice import FULL_WEIGHT
from inferno_proxy.feedback.claims import Ledger, Seen
from inferno_proxy.fleet import FleetView, Load, ModelLoad
from tests.unit.inferno_proxy.feedback.simulation import (
    FAST,
    MODEL,
    SLOW,
    Simulation,
    address,
    answered,
    member,
    seen_by,
    three,
)


def honest(load: ModelLoad) -> ModelLoad:
    return load


def tenth(load: ModelLoad) -> ModelLoad:
    return replace(
        load,
        queued=load.queued // 10,
        completed=load.completed // 10,
        latency_micros=load.latency_micros // 10,
    )


def frozen(load: ModelLoad) -> ModelLoad:
    return replace(load, queued=0, completed=7, latency_micros=100)


def nonsense(load: ModelLoad) -> ModelLoad:
    return replace(load, completed=10_000_000 - 3 * load.completed)


@pytest.mark.parametrize("lie", [tenth, frozen, nonsense])
def test_a_node_that_misreports_is_not_believed_and_gets_what_it_deserves_within_five_seconds(lie: object) -> None:
    nodes = three(says=honest)
    nodes[2].seconds = SLOW
    sim = Simulation(nodes, 100)
    sim.run(10)
    sim.nodes[2].says = lie  # type: ignore[assignment]
    sim.nodes[2].seconds = FAST
    sim.run(5)
    assert sim.weight("c") == FULL_WEIGHT
    sim.run(5)
    assert sim.share("c", sim.now - 5) > 0.25
    distrusted = [act for _, act in sim.acts if act.kind == "LOAD_DISTRUSTED"]
    assert [act.subject for act in distrusted] == ["c"]


def test_a_node_that_tells_the_truth_is_believed() -> None:
    sim = Simulation(three(says=honest), 200)
    sim.run(20)
    sim.nodes[2].seconds = SLOW
    sim.run(40)
    assert "LOAD_DISTRUSTED" not in sim.kinds()


def test_a_report_only_lowers_the_share_of_a_node_of_which_nothing_is_seen() -> None:
    learner, view = seen_by(["a", "b", "c"])
    loads = {
        "a": Load((ModelLoad(MODEL, 0, 10, 0, 10_000),), 1000.0),
        "b": Load((ModelLoad(MODEL, 0, 10, 0, 10_000),), 1000.0),
        "c": Load((ModelLoad(MODEL, 500, 10, 0, 900_000),), 1000.0),
    }
    advice = learner.advise(view, 1000.0, loads)
    assert set(advice.weights) == {(MODEL, "c")}
    assert FULL_WEIGHT // 8 < advice.weights[MODEL, "c"] <= FULL_WEIGHT // 4
    learner.tries(answered(node, 0.010, 1001.0) for node in "abc" for _ in range(20))
    assert learner.advise(view, 1001.0, loads).weights == {}


def test_a_report_that_is_old_or_missing_is_no_claim() -> None:
    learner, view = seen_by(["a", "b", "c"])
    loads = {
        "a": Load((ModelLoad(MODEL, 0, 10, 0, 10_000),), 1004.0),
        "b": Load((ModelLoad(MODEL, 500, 10, 0, 900_000),), 1004.0),
    }
    assert set(learner.advise(view, 1004.0, loads).weights) == {(MODEL, "b")}
    assert learner.advise(view, 1010.0, loads).weights == {}
    only = FleetView(2, {"b": view.members["b"]})
    fresh = {"b": Load((ModelLoad(MODEL, 500, 10, 0, 900_000),), 1011.0)}
    assert learner.advise(only, 1011.0, fresh).weights == {}


def test_a_model_server_that_restarts_under_its_agent_counts_anew_without_suspicion() -> None:
    learner, view = seen_by(["a", "b"])
    learner.advise(view, 1000.0, {"a": Load((ModelLoad(MODEL, 0, 1000, 0, 10_000),), 1000.0)})
    restarted = FleetView(2, {**view.members, "a": member("a", address("a"), revision=2)})
    learner.advise(restarted, 1003.0, {"a": Load((ModelLoad(MODEL, 0, 3, 0, 10_000),), 1003.0)})
    assert learner.take_acts() == []


def test_trust_returns_after_a_minute_without_a_contradiction() -> None:
    learner, view = seen_by(["a", "b"])

    def say(completed: int, at: float) -> list[str]:
        loads = {"a": Load((ModelLoad(MODEL, 0, completed, 0, 10_000),), at), "x": Load((), at)}
        learner.advise(view, at, loads)
        return [act.kind for act in learner.take_acts()]

    assert say(100, 1000.0) == []
    assert say(50, 1001.0) == ["LOAD_DISTRUSTED"]
    assert say(60, 1002.0) == []
    assert say(10, 1010.0) == []
    assert say(11, 1069.0) == []
    assert say(12, 1070.0) == ["LOAD_TRUSTED"]


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (ModelLoad(MODEL, 0, 5, -1, 0), "a negative number"),
        (ModelLoad(MODEL, 0, 12, 0, 100_000, executing=-0.5), "a negative number"),
        (ModelLoad(MODEL, 0, 12, 0, 100_000, executing=math.nan), "a negative number"),
        (ModelLoad(MODEL, 0, 5, 0, 4_000_000_000), "more than an hour"),
        (ModelLoad(MODEL, 0, 12, 0, 100_000, service_micros=4_000_000_000), "more than an hour"),
        (ModelLoad(MODEL, 0, 90_000_000, 0, 10), "89999990 calls finished within 1.0 s"),
        (ModelLoad(MODEL, 0, 11, 0, 1_000), "it reports 1.0 ms a call where 100.0 ms were observed"),
    ],
)
def test_a_report_that_cannot_be_true_is_told_by_itself_or_by_the_one_before(load: ModelLoad, why: str) -> None:
    ledger, seen = Ledger(), Seen(50, 0.1)
    assert ledger.enter(ModelLoad(MODEL, 0, 10, 0, 100_000), 1000.0, seen) == ""
    assert why in ledger.enter(load, 1001.0, seen)
    assert ledger.enter(ModelLoad(MODEL, 0, 12, 0, 100_000), 1001.0, seen) == ""


def test_the_same_report_twice_is_read_once() -> None:
    ledger, seen = Ledger(), Seen(50, 0.1)
    assert ledger.enter(ModelLoad(MODEL, 0, 10, 0, 100_000), 1000.0, seen) == ""
    assert ledger.enter(ModelLoad(MODEL, 0, 1, 0, 100_000), 1000.0, seen) == ""
