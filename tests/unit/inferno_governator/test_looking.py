"""From what was heard, listed and written to the facts of a decision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_governator.decisions.fleet import NodeFacts, NodeState
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.looking import LOST, Heard, PoolPrice, fleet_facts
from inferno_governator.decisions.proposal import Reason, Verb
from inferno_governator.decisions.sights import ModelSight, NodeSight
from inferno_governator.notices import Kind, Notice, StoredNotice
from inferno_governator.policies import below_minimum
from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Machine, MachineState
from inferno_governator.usage import Facts
from inferno_governator.watch.node_findings import SickDevice

NOW = 1_700_000_000.0
MICROS = 1_000_000
POOL = Pool("p", "cloud", ("m",), maximum=3, boot_seconds=100.0)
RUNS = Machine("n", "p", MachineState.RUNNING, born_at=NOW - 1000)
START = Intent(1, 1, Verb.START, Reason.IDLE, "p", "n", begun_micros=int((NOW - 50) * MICROS))
STOP = replace(START, number=2, verb=Verb.STOP, outcome=Outcome.DRAINING)


def sight(ago: float = 1.0, busy: float = 0.5, **model: int) -> NodeSight:
    return NodeSight(int((NOW - ago) * MICROS), 0, Facts(7), {"m": ModelSight(**model)}, busy)


def heard(**more: object) -> Heard:
    known: dict[str, object] = {
        "now": NOW,
        "nodes": {"n": sight()},
        "machines": {"n": RUNS},
        "listed": frozenset({"p"}),
        "pools": {"p": POOL},
        "prices": {"p": PoolPrice(5)},
    }
    return Heard(**{**known, **more})  # type: ignore[arg-type]


def node(**more: object) -> NodeFacts:
    (found,) = fleet_facts(heard(**more)).nodes
    return found


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, NodeState.SERVING),
        ({"nodes": {"n": sight(LOST + 1)}}, NodeState.LOST),
        ({"machines": {"n": replace(RUNS, state=MachineState.STOPPED)}}, NodeState.LOST),
        ({"sick": [SickDevice("n", "gpu0", "it fell off the bus")]}, NodeState.SICK),
        ({"intents": [STOP]}, NodeState.DRAINING),
        ({"intents": [replace(STOP, waits=True)]}, NodeState.SERVING),
        ({"nodes": {}, "machines": {}, "intents": [START]}, NodeState.STARTING),
        ({"nodes": {}, "machines": {"n": replace(RUNS, born_at=NOW - 5)}}, NodeState.STARTING),
        ({"nodes": {}}, NodeState.LOST),
        ({"nodes": {"n": replace(sight(), models={})}, "intents": [START]}, NodeState.STARTING),
    ],
)
def test_the_state_of_a_node_follows_from_what_is_known_last(more: dict[str, object], state: NodeState) -> None:
    assert node(**more).state is state


@pytest.mark.parametrize(
    "more",
    [
        {"nodes": {}, "machines": {}, "intents": [replace(START, waits=True)]},
        {"nodes": {}, "machines": {}, "intents": [replace(START, rehearsed=True)]},
        {
            "nodes": {"n": sight(LOST + 1)},
            "machines": {},
            "intents": [replace(STOP, outcome=Outcome.DONE, ended_micros=1)],
        },
        {"nodes": {"n": sight(LOST + 1)}, "machines": {}, "intents": [replace(START, ended_micros=1)]},
    ],
)
def test_what_nobody_started_or_what_is_gone_is_no_node(more: dict[str, object]) -> None:
    assert fleet_facts(heard(**more)).nodes == ()


def test_a_node_whose_machine_has_ended_is_lost_since_it_was_heard_last() -> None:
    gone = node(machines={"n": replace(RUNS, state=MachineState.STOPPED, why="it was killed")})
    assert (gone.state, gone.since, gone.why) == (NodeState.LOST, NOW - 1, "it was killed")


def test_only_what_the_provider_lists_is_ours() -> None:
    assert node().ours
    assert node().pool == "p"
    assert (node(machines={}).ours, node(machines={}).pool) == (False, "")


def test_a_node_is_idle_since_its_last_request_and_not_before_it_served() -> None:
    assert node().idle_since == NOW - 1000
    assert node(nodes={"n": sight(last_minute=int(NOW // 60) - 3)}).idle_since == (NOW // 60 - 2) * 60
    assert node(nodes={"n": sight(pending=1)}).idle_since is None
    assert node(nodes={"n": sight(requests=1)}).idle_since is None


def test_a_node_is_as_busy_as_its_requests_and_its_devices_both_say() -> None:
    assert node(nodes={"n": sight(busy=0.9, compute_micros=6 * MICROS)}).busy == pytest.approx(0.1)
    assert node(nodes={"n": sight(busy=0.2, compute_micros=60 * MICROS)}).busy == pytest.approx(0.2)


def test_a_notice_of_an_earlier_life_says_nothing_of_this_one() -> None:
    def noticed(at: float) -> StoredNotice:
        return StoredNotice(Notice("n", 1, Kind.RECLAIM, "terminate", int(at * MICROS)), 0)

    assert node(notices=[noticed(NOW - 5)]).notice_at == NOW + 115
    assert node(notices=[noticed(NOW - 2000)]).notice_at is None


def test_a_pools_boot_is_the_median_of_those_that_were_seen() -> None:
    def boot(seconds: int) -> Intent:
        begun = int((NOW - 500) * MICROS)
        ended = begun + seconds * MICROS
        return replace(START, node=f"b{seconds}", outcome=Outcome.DONE, begun_micros=begun, ended_micros=ended)

    assert fleet_facts(heard()).pools[0].boot_seconds == 100
    assert fleet_facts(heard(intents=[boot(10), boot(40), boot(20)])).pools[0].boot_seconds == 20


def test_a_model_must_have_one_node_or_as_many_as_are_said_and_the_missing_are_started() -> None:
    (usual,) = fleet_facts(heard()).models
    facts = fleet_facts(heard(minimums={"m": 3}))
    (raised,) = facts.models
    assert (usual.minimum, raised.minimum) == (1, 3)
    assert [each.pool for each in below_minimum.propose(facts)] == ["p", "p"]
