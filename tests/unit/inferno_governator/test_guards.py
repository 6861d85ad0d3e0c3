"""No policy goes beyond a guard, and settings that contradict each other are refused in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.decisions.fleet import FleetFacts, NodeState
from inferno_governator.decisions.history import Action, Outcome
from inferno_governator.decisions.proposal import Proposal, Reason, Ruling, Verb
from inferno_governator.policies.deciding import DecidingSettings, decide
from inferno_governator.policies.guards import rule
from inferno_governator.policies.settings import FillSettings, GuardSettings, PolicySettings, RiskSettings
from tests.unit.inferno_governator.fleets import AGES, NOW, POOL, fleet, model, node


def stop(name: str, reason: Reason = Reason.UNDER_UTILISED) -> Proposal:
    return Proposal(Verb.STOP, "gpu", reason, "why", node=name)


def start(reason: Reason = Reason.OBJECTIVE_AT_RISK) -> Proposal:
    return Proposal(Verb.START, "gpu", reason, "why")


def ended(verb: Verb, ago: float, outcome: Outcome = Outcome.DONE) -> Action:
    return Action(1, verb, Reason.IDLE, "gpu", "old", outcome, NOW - ago - 600, NOW - ago)


def said(
    facts: FleetFacts, *proposals: Proposal, history: Sequence[Action] = (), guards: GuardSettings | None = None
) -> list[Ruling]:
    return rule(proposals, facts, PolicySettings(), guards or GuardSettings(), history)


def names(rulings: Sequence[Ruling]) -> list[str]:
    return [each.guard for each in rulings]


EIGHT = [node(f"n{number}") for number in range(8)]


@pytest.mark.parametrize("name", ["telemetry", "providers", "prices"])
def test_on_stale_inputs_nothing_is_done(name: str) -> None:
    facts = fleet(EIGHT, model(5.0), ages={**AGES, name: 1e9})
    (ruling,) = said(facts, stop("n1"))
    assert ruling.guard == "stale"
    assert ruling.sentence.startswith(f"{name} are 1000000000 s old, more than ")
    # Old prices do not keep a promise from being kept.
    assert names(said(replace(facts, nodes=()), start())) == ["" if name == "prices" else "stale"]


def test_without_telemetry_nothing_is_done() -> None:
    assert names(said(fleet([], ages={}), start())) == ["stale"]


def test_only_nodes_that_are_tagged_as_ours_and_known_are_stopped() -> None:
    nodes = [*EIGHT, node("theirs", ours=False), node("other", pool="")]
    rulings = said(fleet(nodes, model(5.0)), stop("theirs"), stop("other"), stop("unheard"))
    assert names(rulings) == ["ours", "ours", "ours"]


def test_a_price_that_may_not_be_acted_on_saves_nothing() -> None:
    pools = [replace(POOL, unpriced="the price is 200 days old")]
    rulings = said(fleet(EIGHT[:2], model(5.0), pools=pools), stop("n1"), start(Reason.CHEAPER_MIX), start())
    assert names(rulings) == ["price", "price", ""]
    assert rulings[0].sentence == "the price of pool gpu may not be acted on: the price is 200 days old"


def test_a_pool_has_at_most_its_maximum_with_what_is_allowed_at_this_look() -> None:
    assert names(said(fleet(EIGHT[:6], model(5.0)), start(), start(), start())) == ["", "", "maximum"]


def test_actions_of_an_hour_are_counted() -> None:
    guards = GuardSettings(starts_per_hour=3, stops_per_hour=2, cooldown_seconds=0)
    # An action counts from its beginning; these began 600 s before they ended.
    history = [ended(Verb.START, 100), ended(Verb.START, 2900), ended(Verb.START, 3100), ended(Verb.STOP, 200)]
    facts = fleet(EIGHT[:4], model(1.0))
    assert names(said(facts, start(), start(), history=history, guards=guards)) == ["", "action_budget"]
    assert names(said(facts, stop("n1"), stop("n2"), history=history, guards=guards)) == ["", "action_budget"]


def test_the_cool_down_runs_from_the_end_of_an_action() -> None:
    facts = fleet(EIGHT, model(5.0))
    assert names(said(facts, stop("n1"), history=[ended(Verb.START, 59)])) == ["cooldown"]
    assert names(said(facts, stop("n1"), history=[ended(Verb.START, 60)])) == [""]
    failed = ended(Verb.START, 59, Outcome.FAILED)
    assert names(said(fleet(EIGHT[:2], model(5.0)), start(), history=[failed])) == ["cooldown"]


def test_only_a_share_of_a_models_nodes_stops_at_once() -> None:
    facts = fleet(EIGHT, model(5.0))
    assert names(said(facts, stop("n1"), stop("n2"), stop("n3"))) == ["", "", "blast_radius"]
    draining = [replace(EIGHT[0], state=NodeState.DRAINING), *EIGHT[1:]]
    assert names(said(fleet(draining, model(5.0)), stop("n1"), stop("n2"))) == ["", "blast_radius"]


def test_a_minimum_is_kept_with_what_is_allowed_at_this_look() -> None:
    facts = fleet(EIGHT, model(5.0, minimum=7))
    assert names(said(facts, stop("n1"), stop("n2"))) == ["", "minimum"]
    assert names(said(fleet(EIGHT[:2], model(5.0), pools=[replace(POOL, minimum=2)]), stop("n1"))) == ["minimum"]


def test_what_is_left_must_hold_the_objective() -> None:
    (ruling,) = said(fleet(EIGHT[:3], model(15.0, forecast=25.0)), stop("n1"))
    assert ruling.sentence == "without n1 the nodes of m would be filled to 125%, over 99%"
    # What starts carries nothing yet.
    starting = node("n9", NodeState.STARTING)
    assert names(said(fleet([*EIGHT[:3], starting], model(25.0)), stop("n1"))) == ["objective"]


@pytest.mark.parametrize(
    "felt", [{"burning": "it burns"}, {"latency": 0.75, "objective": 1.0}, {"queued": 100.0}], ids=str
)
def test_nothing_is_stopped_while_requests_feel_that_there_are_too_few(felt: dict[str, Any]) -> None:
    assert names(said(fleet(EIGHT, model(5.0, **felt)), stop("n1"))) == ["objective"]


def test_a_node_with_a_request_or_a_stream_is_not_idle() -> None:
    streaming = node("n0", running=1, idle_since=None)
    facts = fleet([streaming, *EIGHT[1:]], model(5.0))
    (ruling,) = said(facts, stop("n0", Reason.IDLE))
    assert (ruling.guard, ruling.sentence) == ("busy", "n0 still has 1 requests, streams included")


def test_a_useless_node_is_stopped_whatever_the_minimum() -> None:
    facts = fleet([node("n0", NodeState.SICK, running=3)], model(5.0, burning="it burns"))
    assert names(said(facts, stop("n0", Reason.SICK_NODE))) == [""]


def test_a_pool_that_is_gone_is_not_acted_on() -> None:
    assert names(said(fleet(EIGHT, model(5.0), pools=[]), start())) == ["pool"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FillSettings(target=0.95, tolerance=0.1), "target may be at most 0.909"),
        (lambda: RiskSettings(latency_share=0.5, calm_share=0.6), "nodes would stop at a latency at which"),
        (lambda: GuardSettings(cooldown_seconds=3600), "so 30 stops_per_hour can never be reached"),
        (lambda: GuardSettings(telemetry_max_age_seconds=7200), "at most 3600"),
        (lambda: GuardSettings(blast_radius=0), "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=sentence):
        make()


STATES = st.sampled_from(list(NodeState))
NODES = st.lists(
    st.builds(
        lambda state, ours, running, idle, age, notice: (state, ours, running, idle, age, notice),
        STATES, st.booleans(), st.integers(0, 3), st.booleans(), st.floats(0, 20_000), st.booleans(),
    ),
    max_size=8,
)  # fmt: skip


@given(NODES, st.floats(0, 90), st.integers(0, 4), st.booleans())
def test_whatever_the_fleet_no_guard_is_passed(drawn: list[Any], rate: float, minimum: int, over: bool) -> None:
    nodes = [
        node(
            f"n{number}", state, ours=ours, running=running, since=NOW - age,
            idle_since=NOW - age if idle and not running else None, notice_at=NOW + 60 if notice else None,
        )
        for number, (state, ours, running, idle, age, notice) in enumerate(drawn)
    ]  # fmt: skip
    facts = fleet(nodes, model(rate, minimum=minimum), over_budget="spent" if over else "")
    allowed = [each.proposal for each in decide(facts, DecidingSettings(), ()) if each.allowed]
    assert len({each.reason for each in allowed}) <= 1
    stopped = {each.node for each in allowed if each.verb is Verb.STOP}
    left = [
        each for each in nodes if each.state is NodeState.SERVING and not each.notice_at and each.node not in stopped
    ]
    for each in nodes:
        if each.node in stopped:
            assert each.ours
            assert each.state in {NodeState.SERVING, NodeState.STARTING, NodeState.SICK, NodeState.LOST}
            if each.state is NodeState.SERVING:
                assert len(left) >= minimum
                assert rate <= 10.0 * len(left)
    useful = (NodeState.STARTING, NodeState.SERVING, NodeState.DRAINING)
    there = sum(each.state in useful and not each.notice_at for each in nodes)
    assert there + sum(each.verb is Verb.START for each in allowed) <= max(POOL.maximum, there)
