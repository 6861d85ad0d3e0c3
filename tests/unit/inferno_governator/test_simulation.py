import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferno_governator.decisions.fleet import FleetFacts, NodeState
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.reports import simulation
from inferno_governator.simulation.alternatives import POLICIES, Alternative, compare
from inferno_governator.simulation.curves import MeasuredCurve
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outages import Outage, Weather, outages
from inferno_governator.simulation.outcome import Objective
from inferno_governator.simulation.replay import Deployment, replay
from inferno_governator.simulation.trace import RateTrace, RequestTrace, Trace
from inferno_runtime.errors import InvalidInput

# One place, a request a second.
SLOW = MeasuredCurve((1.0,))
# Eight places; together four requests a second.
WIDE = MeasuredCurve.of({1: 1.0, 8: 4.0})


def steady(rate: float, minutes: int) -> RateTrace:
    return RateTrace("steady", np.full(minutes, rate), 60.0)


def requests(*at: float, seconds: float) -> RequestTrace:
    return RequestTrace("t", np.array(at), np.ones(len(at)), np.ones(len(at)), seconds)


class Script:
    """A policy that proposes what it is told to at given decisions."""

    def __init__(self, **at: Proposal) -> None:
        self._at = {int(key[1:]): value for key, value in at.items()}
        self.seen: list[FleetFacts] = []

    def __call__(self, facts: FleetFacts) -> Sequence[Proposal]:
        self.seen.append(facts)
        return [self._at[len(self.seen)]] if len(self.seen) in self._at else []


START = Proposal(Verb.START, "p", Reason.OBJECTIVE_AT_RISK, "")


def test_a_bill_counts_whole_seconds_from_the_start_of_a_node_to_its_drained_end() -> None:
    stop = Proposal(Verb.STOP, "p", Reason.IDLE, "", node="p-00002")
    script = Script(_1=START, _20=stop)
    pool = Pool("p", SLOW, 3_600_000, boot_seconds=600, begin=1)
    outcome = replay(requests(1.0, seconds=3600), Deployment("d", (pool,), policy=lambda: script))
    # 3,600 s of the first, and 60 s to 1,200 s of the second, at a thousandth of a dollar a second.
    assert outcome.cost_micros == (3600 + 1140) * 1000
    assert (outcome.starts, outcome.stops, outcome.node_seconds) == (1, 1, 4740)
    states = [[node.state for node in facts.nodes] for facts in script.seen]
    assert states[1] == [NodeState.SERVING, NodeState.STARTING]
    assert states[10] == [NodeState.SERVING, NodeState.SERVING]
    assert len(states[20]) == 1


def test_a_node_that_drains_finishes_what_it_has() -> None:
    stop = Proposal(Verb.STOP, "p", Reason.IDLE, "", node="p-00001")
    pool = Pool("p", MeasuredCurve((0.01,)), 3_600_000, begin=1)
    deployment = Deployment("d", (pool,), policy=lambda: Script(_1=stop), patience=1000)
    outcome = replay(requests(10.0, 20.0, 100.0, seconds=600), deployment)
    # Two were on it; the third came to nobody. The node is paid until the second is done, at 210 s.
    assert (outcome.served, outcome.refused) == (2, 1)
    assert outcome.cost_micros == 210 * 1000


def test_the_first_minute_is_billed_whole_and_a_part_of_a_micro_dollar_as_one() -> None:
    pool = Pool("p", SLOW, 7, begin=1)
    assert replay(requests(0.0, seconds=1.0), Deployment("d", (pool,))).cost_micros == 1


def test_requests_of_a_lost_node_begin_anew_on_another() -> None:
    spot = Pool("spot", MeasuredCurve((0.1,)), 1_000_000, begin=1, spot=True, zone="a")
    other = Pool("other", MeasuredCurve((0.1,)), 1_000_000, begin=1)
    deployment = Deployment("d", (spot, other), outages=(Outage(5.0, 100.0, "a"),))
    outcome = replay(requests(0.0, 0.0, seconds=300), deployment)
    assert (outcome.served, outcome.retried, outcome.losses) == (2, 1, 1)
    # The one on the lost node waits for the other's end at 10 s, and takes 10 s.
    assert outcome.latency[2] == pytest.approx(20.0)


def test_nodes_of_a_zone_are_told_before_they_are_taken_and_none_starts_there_meanwhile() -> None:
    script = Script(_11=START, _70=START)
    pool = Pool("p", WIDE, 1_000_000, boot_seconds=60, begin=1, spot=True, zone="a")
    deployment = Deployment("d", (pool,), policy=lambda: script, outages=(Outage(600.0, 1800.0, "a"),))
    outcome = replay(steady(1, 120), deployment)
    told = next(facts for facts in script.seen if facts.nodes and facts.nodes[0].notice_at)
    assert (told.at, told.nodes[0].notice_at) == (480.0, 600.0)
    assert (outcome.losses, outcome.starts, outcome.refused_actions) == (1, 1, 1)
    assert script.seen[11].pools[0].maximum == 0
    assert script.seen[30].pools[0].maximum == pool.maximum


def test_the_way_to_a_region_counts_into_the_latency_and_the_capacity_within_the_objective() -> None:
    script = Script()
    pool = Pool("p", WIDE, 1_000_000, begin=1, network_seconds=0.5)
    deployment = Deployment("d", (pool,), Objective(latency=1.7), policy=lambda: script)
    outcome = replay(requests(0.0, seconds=100), deployment)
    assert outcome.latency[0] == pytest.approx(1.5)
    near = Script()
    replay(
        requests(0.0, seconds=100), replace(deployment, pools=(replace(pool, network_seconds=0),), policy=lambda: near)
    )
    assert 0 < script.seen[0].pools[0].capacity["model"] < near.seen[0].pools[0].capacity["model"]


def test_what_a_policy_sees_is_what_a_fleet_shows() -> None:
    script = Script()
    pool = Pool("p", WIDE, 2_000_000, boot_seconds=300, begin=2, zone="a")
    replay(steady(4, 10).requests(1), Deployment("d", (pool,), Objective(latency=3), policy=lambda: script))
    facts = script.seen[-1]
    assert facts.models[0].rate == pytest.approx(4, rel=0.3)
    assert np.mean([node.busy for node in facts.nodes]) == pytest.approx(0.5, rel=0.3)
    assert all(node.ours and node.idle_since is None for node in facts.nodes)
    assert facts.pools[0].capacity["model"] == pytest.approx(4.0)


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("exact", [False, True], ids=["rates", "requests"])
def test_each_policy_follows_demand_up_and_down(name: str, exact: bool) -> None:
    rates = np.concatenate([np.full(90, 3.0), np.full(120, 18.0), np.full(150, 3.0)])
    whole = RateTrace("t", rates, 60.0)
    trace: Trace = whole.requests(1) if exact else whole
    pool = Pool("p", WIDE, 1_000_000, boot_seconds=300, begin=2, minimum=1, maximum=20)
    target = {"request-rate": 3.0, "consolidation": 0.8}.get(name, 0.0)
    chosen = Alternative(name, (pool,), name, target, objective=Objective(latency=10))
    (outcome,) = compare(trace, [chosen], 1)
    fixed = replay(trace, Deployment("fixed", (replace(pool, begin=7),)))
    assert outcome.cost_micros < 0.8 * fixed.cost_micros
    assert outcome.within > 0.85
    assert outcome.most_nodes >= 5
    assert outcome.moments[-1].serving <= 2


def test_our_own_policies_start_a_successor_in_another_zone_at_a_notice() -> None:
    script = POLICIES["inferno"][0](0.0)
    seen: list[Proposal] = []

    def watched(facts: FleetFacts) -> Sequence[Proposal]:
        chosen = script(facts)
        seen.extend(chosen)
        return chosen

    pools = [
        Pool(zone, WIDE, 1_000_000, 60, begin, maximum=4, spot=True, zone=zone) for zone, begin in (("a", 1), ("b", 0))
    ]
    deployment = Deployment("d", tuple(pools), policy=lambda: watched, outages=(Outage(1800.0, 3600.0, "a"),))
    outcome = replay(steady(2, 120), deployment)
    assert [(each.verb, each.pool, each.reason) for each in seen] == [(Verb.START, "b", Reason.SPOT_NOTICE)]
    assert outcome.losses == 1
    assert outcome.refused == 0


def test_noise_within_the_tolerance_moves_no_horizontal_autoscaler() -> None:
    rates = 7.0 + 0.6 * np.random.default_rng(1).uniform(-1, 1, 1440)
    pool = Pool("p", WIDE, 1_000_000, begin=3)
    alternative = Alternative("hpa", (pool,), "hpa", 7 / 12)
    (outcome,) = compare(RateTrace("t", rates, 60.0), [alternative], 1)
    assert (outcome.starts, outcome.stops) == (0, 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 20), st.sampled_from(["fixed", *POLICIES]))
def test_the_same_seed_gives_the_same_bytes_and_every_request_has_one_fate(seed: int, rate: float, policy: str) -> None:
    zones = [Pool(zone, WIDE, 1_000_000, 120, 1, maximum=6, spot=True, zone=zone) for zone in ("a", "b")]
    alternative = Alternative("x", tuple(zones), policy, 2.0 if policy == "request-rate" else 0.8, Weather(20, 900))
    trace = steady(rate, 60).requests(seed)
    first, second = (compare(trace, [alternative], seed) for _ in range(2))
    replayed = simulation.Replayed.of(trace)
    assert simulation.document(first, replayed, seed) == simulation.document(second, replayed, seed)
    assert simulation.html(first, replayed) == simulation.html(second, replayed)
    (outcome,) = first
    assert outcome.served + outcome.refused == outcome.requests == len(trace.at)
    assert 0 <= outcome.late <= outcome.served


def test_outages_come_as_often_and_last_as_long_as_they_are_said_to() -> None:
    alone = outages(Weather(per_day=2, mean_seconds=3600, together=0), ["a"], 1000 * 86400, 1)
    assert len(alone) == pytest.approx(2000 * (1 - 2 / 24), rel=0.06)
    assert all(one.end < other.begin for one, other in itertools.pairwise(alone))
    both = outages(Weather(2, 3600, together=1, spread=1), ["a", "b"], 100 * 86400, 1)
    a, b = ([each for each in both if each.zone == zone] for zone in ("a", "b"))
    near = sum(any(abs(one.begin - other.begin) <= 7200 for other in b) for one in a)
    assert near / len(a) > 0.9
    assert outages(Weather(), ["a", "b"], 86400, 7) == outages(Weather(), ["a", "b"], 86400, 7)


def test_nothing_comes_of_no_demand() -> None:
    outcome = replay(steady(0, 10), Deployment("d", (Pool("p", WIDE, 6_000_000, begin=1),)))
    assert (outcome.requests, outcome.served, outcome.within, outcome.idle) == (0, 0, 1.0, 1.0)
    assert outcome.cost_micros == 1_000_000


@pytest.mark.parametrize(
    ("alternative", "said"),
    [
        (Alternative("x", ()), "'x' has no pool"),
        (Alternative("x", (Pool("p", WIDE, 1), Pool("p", WIDE, 1))), "two of one name"),
        (Alternative("x", (Pool("p", WIDE, 1, begin=3, maximum=2),)), "begins with 3 nodes"),
        (Alternative("x", (Pool("p", WIDE, 1),), "best"), "policy 'best', which is none"),
        (Alternative("x", (Pool("p", WIDE, 1),), "request-rate"), "needs a target"),
        (Alternative("x", (Pool("p", WIDE, 1),), "inferno", 2.0), "as full as 2"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused_with_its_name(alternative: Alternative, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        compare(steady(1, 1), [alternative], 1)
