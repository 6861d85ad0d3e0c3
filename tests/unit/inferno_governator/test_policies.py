"""Each policy proposes what its reason says, in the order of reasons, and one reason acts at a look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferno_governator.decisions.fleet import FleetFacts, NodeState
from inferno_governator.decisions.history import Action, Outcome
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.deciding import DecidingSettings, decide
from tests.unit.inferno_governator.fleets import DOLLAR, NOW, POOL, fleet, model, node


def allowed(facts: FleetFacts, *history: Action) -> list[Proposal]:
    return [each.proposal for each in decide(facts, DecidingSettings(), history) if each.allowed]


def started(name: str, reason: Reason, instead_of: str = "", outcome: Outcome = Outcome.DONE) -> Action:
    ended = None if outcome in {Outcome.INTENDED, Outcome.CALLED} else NOW - 500
    return Action(1, Verb.START, reason, "gpu", name, outcome, NOW - 600, ended, instead_of)


def test_a_fleet_that_fits_its_demand_is_left_alone() -> None:
    assert not decide(fleet([node("a"), node("b"), node("c")], model(24.0)), DecidingSettings(), ())


def test_a_lost_node_is_replaced_once_and_stopped_when_its_successor_serves() -> None:
    nodes = [node("a"), node("b", NodeState.LOST, since=NOW - 90, why="its lease ended")]
    (start,) = allowed(fleet(nodes, model(5.0)))
    assert (start.verb, start.reason, start.pool, start.instead_of) == (Verb.START, Reason.SICK_NODE, "gpu", "b")
    assert start.sentence == "b has been lost for 90 s (its lease ended): another takes its place"
    begun = started("c", Reason.SICK_NODE, "b")
    assert not allowed(fleet([*nodes, node("c", NodeState.STARTING, since=NOW - 60)], model(5.0)), begun)
    (stop,) = allowed(fleet([*nodes, node("c")], model(5.0)), begun)
    assert (stop.verb, stop.reason, stop.node) == (Verb.STOP, Reason.SICK_NODE, "b")


def test_a_node_is_replaced_again_when_its_successor_failed_to_start_and_the_cool_down_is_over() -> None:
    nodes = [node("a"), node("b", NodeState.SICK, since=NOW - 3600)]
    failed = started("c", Reason.SICK_NODE, "b", Outcome.FAILED)
    assert [each.instead_of for each in allowed(fleet(nodes, model(5.0)), failed)] == ["b"]
    assert not allowed(fleet(nodes, model(5.0)), replace(failed, ended_at=NOW - 10))


def test_a_node_that_is_sick_for_a_moment_is_left_alone() -> None:
    assert not allowed(fleet([node("a"), node("b", NodeState.SICK, since=NOW - 5)], model(5.0)))


def test_a_spot_notice_starts_the_successor_first_and_in_another_zone() -> None:
    here, there = replace(POOL, zone="z1"), replace(POOL, pool="gpu2", zone="z2", micros_per_hour=2 * DOLLAR)
    nodes = [node("a", zone="z1", notice_at=NOW + 120), node("b", zone="z1")]
    (start,) = allowed(fleet(nodes, model(8.0), pools=[here, there]))
    assert (start.reason, start.pool, start.instead_of) == (Reason.SPOT_NOTICE, "gpu2", "a")
    assert start.sentence == "the machine of a is taken back in 120 s, and a successor serves 600 s after its start"
    assert not allowed(fleet(nodes, model(8.0), pools=[here, there]), started("c", Reason.SPOT_NOTICE, "a"))


def test_a_full_pool_takes_the_successor_of_a_node_that_goes() -> None:
    pool = replace(POOL, maximum=2)
    nodes = [node("a", notice_at=NOW + 120), node("b")]
    assert [each.pool for each in allowed(fleet(nodes, model(8.0), pools=[pool]))] == ["gpu"]


def test_nodes_that_a_pool_or_a_model_must_have_are_started() -> None:
    facts = fleet([node("a")], model(1.0, minimum=4), pools=[replace(POOL, minimum=2)])
    proposals = allowed(facts)
    assert [each.reason for each in proposals] == [Reason.BELOW_MINIMUM] * 3
    assert proposals[0].sentence == "pool gpu has 1 nodes that serve or start, and must have 2"
    assert proposals[-1].sentence == "model m has 2 nodes that serve or start, and must have 4"


def test_a_forecast_above_the_band_starts_as_many_as_bring_it_back() -> None:
    facts = fleet([node("a"), node("b")], model(18.0, forecast=35.0))
    proposals = allowed(facts)
    assert [each.reason for each in proposals] == [Reason.OBJECTIVE_AT_RISK] * 2
    assert proposals[0].sentence == (
        "m is expected at 35 requests/s, which fills its 2 nodes to 175% of what they serve within the objective, "
        "more than 99%"
    )
    coming = [node(name, NodeState.STARTING, since=NOW - 60) for name in "cd"]
    assert not allowed(fleet([*facts.nodes, *coming], *facts.models))


def test_a_start_that_is_under_way_and_not_seen_yet_is_not_repeated() -> None:
    facts = fleet([node("a")], model(15.0))
    assert len(allowed(facts)) == 1
    assert not allowed(facts, started("", Reason.OBJECTIVE_AT_RISK, outcome=Outcome.INTENDED))


@pytest.mark.parametrize(
    ("felt", "sentence"),
    [
        ({"latency": 0.95, "objective": 1.0}, "m takes 0.95 s where 1 s are promised, more than 90% of it"),
        ({"queued": 20.0}, "20 requests of m wait in 2 nodes, more than 8 each"),
        ({"burning": "5% of the budget burnt in 1 h."}, "m: 5% of the budget burnt in 1 h"),
    ],
)
def test_latency_queues_and_a_burning_budget_start_one_node_at_a_time(felt: dict[str, Any], sentence: str) -> None:
    facts = fleet([node("a"), node("b")], model(2.0, **felt))
    (start,) = allowed(facts)
    assert (start.reason, start.sentence) == (Reason.OBJECTIVE_AT_RISK, sentence)
    assert not allowed(fleet([*facts.nodes, node("c", NodeState.STARTING, since=NOW - 60)], *facts.models))


def test_a_busy_gpu_alone_starts_nothing() -> None:
    assert not allowed(fleet([node("a", busy=1.0), node("b", busy=1.0)], model(15.0)))


def test_without_a_measured_capacity_busy_time_tells_how_full_nodes_are() -> None:
    pool = replace(POOL, capacity={})
    assert [each.verb for each in allowed(fleet([node("a", busy=0.8)], model(4.0, forecast=8.0), pools=[pool]))] == [
        Verb.START
    ]


def test_demand_is_met_where_a_request_costs_least_and_there_is_room() -> None:
    big = replace(POOL, pool="big", micros_per_hour=3 * DOLLAR, capacity={"m": 40.0}, maximum=1)
    proposals = allowed(fleet([node("a")], model(70.0), pools=[POOL, big]))
    assert [each.pool for each in proposals] == ["big", "gpu", "gpu", "gpu"]


def test_a_passed_budget_takes_the_headroom_and_not_the_promise() -> None:
    nodes = [node("a"), node("b"), node("c", micros_per_hour=2 * DOLLAR)]
    (stop,) = allowed(fleet(nodes, model(19.0), over_budget="of 100 dollars 104 are spent."))
    assert (stop.verb, stop.reason, stop.node) == (Verb.STOP, Reason.BUDGET, "c")
    assert stop.sentence.startswith("of 100 dollars 104 are spent; without c ")
    assert not allowed(fleet(nodes, model(21.0), over_budget="of 100 dollars 104 are spent."))


def test_a_node_that_was_idle_as_long_as_a_start_costs_is_stopped() -> None:
    def idle(seconds: float) -> list[Proposal]:
        nodes = [node("a", running=2), node("b", idle_since=NOW - seconds)]
        return allowed(fleet(nodes, replace(model(2.0), recent=())))

    assert not idle(599)
    (stop,) = idle(600)
    assert (stop.verb, stop.reason, stop.node) == (Verb.STOP, Reason.IDLE, "b")
    assert stop.sentence == "b has had no request for 600 s, and starting it again costs 600 s of its time"


def test_the_last_node_stops_only_where_nothing_must_serve() -> None:
    last = [node("a", idle_since=NOW - 700)]
    assert not allowed(fleet(last, model(0.0)))
    assert [each.node for each in allowed(fleet(last, model(0.0, minimum=0)))] == ["a"]


def test_what_demand_did_not_need_for_as_long_as_a_start_costs_is_stopped_newest_first() -> None:
    nodes = [node("a", since=NOW - 9000), node("b", since=NOW - 7000), node("c", since=NOW - 8000)]
    (stop,) = allowed(fleet(nodes, model(12.0)))
    assert (stop.reason, stop.node) == (Reason.UNDER_UTILISED, "b")
    assert stop.sentence == (
        "the highest demand of the last 600 s fills the other 2 nodes to 60%, not more than 81%: b was not needed for "
        "as long as starting it again costs"
    )
    assert not allowed(fleet(nodes, model(12.0, peak=17.0)))
    assert [each.node for each in allowed(fleet(nodes, model(12.0, forecast=19.0)))] == ["b"]
    assert not allowed(fleet(nodes, model(12.0, forecast=20.0)))
    # The highest demand of the time may grow as much.
    assert not allowed(fleet(nodes, model(12.0, peak=16.0, forecast=15.0)))
    assert not allowed(fleet(nodes, replace(model(12.0), recent=((NOW - 300, 12.0), (NOW, 12.0)))))


def test_a_start_that_is_not_needed_any_more_is_taken_back_before_a_node_that_serves() -> None:
    nodes = [node("a"), node("b"), node("c", NodeState.STARTING, since=NOW - 700)]
    assert [each.node for each in allowed(fleet(nodes, model(12.0)))] == ["c"]


def test_a_cheaper_kind_of_node_that_does_as_much_takes_a_dearer_ones_place() -> None:
    other = replace(POOL, pool="new", micros_per_hour=DOLLAR // 2)
    nodes = [node("a"), node("b")]
    (start,) = allowed(fleet(nodes, model(15.0), pools=[POOL, other]))
    assert (start.verb, start.reason, start.pool, start.instead_of) == (Verb.START, Reason.CHEAPER_MIX, "new", "a")
    assert start.saves_micros_per_hour == DOLLAR // 2
    assert start.sentence == "a node of pool new serves as much as a for 50% less, and pays for the change in 30 min"
    for barely in (replace(other, micros_per_hour=DOLLAR * 9 // 10), replace(other, capacity={"m": 9.0})):
        assert not allowed(fleet(nodes, model(15.0), pools=[POOL, barely]))
    # Once it serves, the dearer one is the one that is not needed.
    replaced = [*nodes, node("n", pool="new", micros_per_hour=DOLLAR // 2, since=NOW - 60)]
    (stop,) = allowed(fleet(replaced, model(15.0), pools=[POOL, other]), started("n", Reason.CHEAPER_MIX, "a"))
    assert (stop.reason, stop.pool) == (Reason.UNDER_UTILISED, "gpu")


def test_one_reason_acts_at_a_look_and_what_keeps_the_promise_comes_first() -> None:
    nodes = [node("a"), node("b", NodeState.LOST, since=NOW - 90), node("c", idle_since=NOW - 9000)]
    assert {each.reason for each in allowed(fleet(nodes, model(1.0)))} == {Reason.SICK_NODE}


def test_a_forbidden_proposal_is_told_and_the_next_reason_may_act() -> None:
    pool = replace(POOL, maximum=3)
    nodes = [node("a"), node("b", since=NOW - 7000), node("c", NodeState.DRAINING)]
    facts = fleet(nodes, model(3.0, burning="it burns"), pools=[pool])
    # The pool is full, so the start is not even proposed; the stop is forbidden while the objective burns.
    assert [(each.proposal.reason, each.guard) for each in decide(facts, DecidingSettings(), ())] == [
        (Reason.UNDER_UTILISED, "objective")
    ]
