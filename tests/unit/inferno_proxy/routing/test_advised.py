from __future__ import annotations

from dataclasses import replace

import pytest
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment

from inferno_proxy.feedback.advice import FULL_WEIGHT, Advice
from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from inferno_proxy.publishing.snapshot import Dialect, ResourceType
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.routing.advised import Planner, advised
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan, RoutingSettings
from inferno_proxy.routing.traffic import Balance, Split, Traffic, TrafficTable

SETTINGS = ResourceSettings("/data/control.sock", "/data/http.sock")
HELD = "It held work for 2 s and finished none."


def endpoint(node: str, **more: object) -> Endpoint:
    return replace(Endpoint(Address(f"10.0.0.{node[1:]}", 8001), node), **more)  # type: ignore[arg-type]


def planned(*endpoints: Endpoint, traffic: Traffic | None = None, **more: object) -> RoutePlan:
    route = ModelRoute("m", traffic=traffic or Traffic(), grpc=endpoints, http=endpoints)
    return RoutePlan({"m": replace(route, **more)})  # type: ignore[arg-type]


def test_no_advice_changes_nothing() -> None:
    plan = planned(endpoint("n1"))
    assert advised(plan, Advice()) is plan
    assert advised(plan, Advice(weights={("gone", "n1"): 5})) is plan


def test_an_endpoint_gets_the_weight_it_deserves_over_grpc_and_rest() -> None:
    route = advised(planned(endpoint("n1"), endpoint("n2")), Advice(weights={("m", "n2"): 5})).models["m"]
    for side in (route.grpc, route.http):
        assert {e.node: e.weight for e in side} == {"n1": FULL_WEIGHT, "n2": 5}


@pytest.mark.parametrize(("stateful", "balance"), [(True, Balance.LEAST_REQUEST), (False, Balance.RING_HASH)])
def test_keys_stay_where_they_are_whatever_was_learned(stateful: bool, balance: Balance) -> None:
    plan = planned(
        endpoint("n1", weight=1), endpoint("n2", weight=1), stateful=stateful, traffic=Traffic(balance=balance)
    )
    route = advised(plan, Advice(weights={("m", "n2"): 5})).models["m"]
    assert [e.weight for e in route.grpc] == [1, 1]


def test_a_stuck_endpoint_is_left_out_and_priorities_have_no_gap() -> None:
    plan = planned(endpoint("n1", priority=0), endpoint("n2", priority=1), endpoint("n3", priority=2))
    route = advised(plan, Advice(stuck={("m", "n1"): HELD})).models["m"]
    assert [(e.node, e.priority) for e in route.grpc] == [("n2", 0), ("n3", 1)]


def test_a_model_that_is_not_to_learn_follows_verdicts_only() -> None:
    plan = planned(endpoint("n1"), endpoint("n2"), endpoint("n3"), traffic=Traffic(learn=False))
    learned = Advice(
        weights={("m", "n2"): 5},
        hedge_after={"m": 0.1},
        limits={"m": 3},
        stuck={("m", "n1"): HELD},
        hopeless=frozenset({"m"}),
    )
    route = advised(plan, learned).models["m"]
    assert [(e.node, e.weight) for e in route.grpc] == [("n2", FULL_WEIGHT), ("n3", FULL_WEIGHT)]
    assert (route.hedge_after, route.limit, route.hopeless) == (0, 0, True)


def test_the_last_endpoint_that_takes_work_is_never_left_out() -> None:
    plan = planned(endpoint("n1"), endpoint("n2", draining=True))
    route = advised(plan, Advice(stuck={("m", "n1"): HELD})).models["m"]
    assert [e.node for e in route.grpc] == ["n1", "n2"]


@pytest.mark.parametrize(("chosen", "used"), [(0.0, 0.05), (3.0, 3.0)])
def test_an_operators_own_delay_wins_over_the_learned_one(chosen: float, used: float) -> None:
    plan = planned(endpoint("n1"), traffic=Traffic(hedge_after=chosen), hedge_after=chosen)
    assert advised(plan, Advice(hedge_after={"m": 0.05})).models["m"].hedge_after == used


def test_a_model_without_a_well_endpoint_is_marked() -> None:
    assert advised(planned(endpoint("n1")), Advice(hopeless=frozenset({"m"}))).models["m"].hopeless


def test_a_quarantined_request_has_its_models_calls_watched_too() -> None:
    advice = Advice(quarantined={"m": frozenset({"f"}), "gone": frozenset({"f"})}, watched=frozenset({"n"}))
    models = advised(RoutePlan({name: ModelRoute(name) for name in ("m", "n", "o")}), advice).models
    assert {name: (route.quarantined, route.watched) for name, route in models.items()} == {
        "m": ({"f"}, True),
        "n": (frozenset(), True),
        "o": (frozenset(), False),
    }


def test_the_plan_is_made_anew_only_for_another_fleet_or_other_settings() -> None:
    models = (Model("m", (ModelVersion("1", ModelState.READY),)), Model("k", (ModelVersion("1", ModelState.READY),)))
    node = Node("n1", 1, Address("10.0.0.1", 8001), models=models)
    view = FleetView(1, {"n1": Member(node, Phase.SERVING, Source.AGENT, 0.0)})
    settings, planner = RoutingSettings(), Planner()
    first = planner(view, settings, Advice())
    second = planner(view, settings, Advice(weights={("m", "n1"): 5}))
    assert second.models["k"] is first.models["k"]
    assert second.models["m"].grpc[0].weight == 5
    assert planner(view, settings, Advice()) is first
    hashed = RoutingSettings(TrafficTable(others=Traffic(Balance.MAGLEV)))
    assert planner(view, hashed, Advice()).models["m"].grpc[0].weight == 1
    assert planner(FleetView(2), hashed, Advice()).models == {}


def localities(plan: RoutePlan, dialect: Dialect) -> dict[str, tuple[int, list[int]]]:
    body = build(plan, SETTINGS, 1, {})[dialect].resources[ResourceType.ENDPOINT]["model/m/grpc"].body
    return {
        group.locality.sub_zone if group.locality else "": (
            group.load_balancing_weight or 0,
            [e.load_balancing_weight or 0 for e in group.lb_endpoints],
        )
        for group in ClusterLoadAssignment.parse(body).endpoints
    }


def test_clients_that_weigh_no_endpoints_get_lesser_ones_in_localities_of_their_own() -> None:
    plan = planned(endpoint("n1"), endpoint("n2", weight=5), endpoint("n3"))
    assert localities(plan, Dialect.ENVOY) == {"": (2005, [1000, 5, 1000])}
    assert localities(plan, Dialect.GRPC) == {"": (2000, [1000, 1000]), "@n2": (5, [5])}


def test_clients_that_weigh_no_endpoints_are_told_of_greater_ones_too() -> None:
    plan = planned(endpoint("n1", weight=3000), endpoint("n2"))
    assert localities(plan, Dialect.GRPC) == {"": (1000, [1000]), "@n1": (3000, [3000])}


def test_a_groups_share_stays_whatever_its_endpoints_weigh() -> None:
    split = Traffic(split=Split("track", (("stable", 90), ("canary", 10))))
    stable = [endpoint(f"n{number}", group="stable", share=90) for number in (1, 2, 3)]
    slow = replace(stable[2], weight=500)
    plan = planned(*stable[:2], slow, endpoint("n4", group="canary", share=10), traffic=split)
    assert localities(plan, Dialect.ENVOY) == {"canary": (100_000, [1000]), "stable": (900_000, [1000, 1000, 500])}
    found = localities(plan, Dialect.GRPC)
    assert found == {
        "canary": (100_000, [1000]),
        "stable": (720_000, [1000, 1000]),
        "stable@n3": (180_000, [500]),
    }
