"""What operators ordered, over what was planned and learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inferno_proxy.feedback.advice import FULL_WEIGHT, Advice
from inferno_proxy.fleet import FleetView, Member, Phase, Source
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutingSettings
from inferno_proxy.routing.steering import Steering
from inferno_proxy.routing.traffic import Balance, Mirror, Traffic, TrafficTable
from tests.unit.inferno_proxy.nodes import model, node


def fleet(*names: str, **fields: object) -> FleetView:
    members = {
        name: Member(replace(node(name, port=port), **fields), Phase.SERVING, Source.AGENT, 0.0)  # type: ignore[arg-type]
        for port, name in enumerate(names, 1)
    }
    return FleetView(1, members)


def route(view: FleetView, steering: Steering, advice: Advice | None = None, **traffic: object) -> ModelRoute:
    settings = RoutingSettings(TrafficTable(others=Traffic(**traffic)))  # type: ignore[arg-type]
    return Planner()(view, settings, advice or Advice(), steering).models["m"]


def weights(endpoints: Sequence[Endpoint]) -> dict[str, int]:
    return {each.node: 0 if each.draining else each.weight for each in endpoints}


def test_a_factor_multiplies_what_was_learned() -> None:
    made = route(fleet("a", "b", "c"), Steering({"a": 0.1, "b": 0.5, "c": 2}), Advice(weights={("m", "b"): 5}))
    assert weights(made.grpc) == {"a": FULL_WEIGHT // 10, "b": 2, "c": 2 * FULL_WEIGHT}
    assert route(fleet("a"), Steering({"a": 0.0001})).grpc[0].weight == 1


@pytest.mark.parametrize("steering", [Steering({"a": 0}), Steering(nodes=frozenset({"a", "gone"}))])
def test_a_node_without_work_is_sent_neither_a_call_nor_a_copy(steering: Steering) -> None:
    made = route(fleet("a", "b"), steering)
    assert weights(made.grpc) == {"b": FULL_WEIGHT}
    copies = route(fleet("a", labels={"g": "x"}), steering, mirror=Mirror("g", "x"))
    assert copies.grpc_copies == ()


def test_farther_nodes_come_first_when_the_nearer_ones_are_without_work() -> None:
    view = fleet("a", "b")
    far = replace(view.members["b"], node=replace(view.members["b"].node, zone="z"))
    settings = RoutingSettings(TrafficTable(others=Traffic()), zone="here", nearest_first=True)
    near = replace(view.members["a"], node=replace(view.members["a"].node, zone="here"))
    members = {"a": near, "b": far}
    made = Planner()(FleetView(1, members), settings, Advice(), Steering(nodes=frozenset({"a"}))).models["m"]
    assert [(each.node, each.priority) for each in made.grpc] == [("b", 0)]


def test_a_model_without_work_takes_it_nowhere_and_others_do() -> None:
    view = fleet("a", "b", models=(model("m"), model("n")))
    plan = Planner()(view, RoutingSettings(), Advice(), Steering(models=frozenset({"m"})))
    assert (weights(plan.models["m"].grpc), weights(plan.models["n"].grpc)["a"]) == ({}, FULL_WEIGHT)


def test_a_stuck_endpoint_stays_when_all_others_are_in_quarantine() -> None:
    advice = Advice(stuck={("m", "b"): "It held work."})
    assert weights(route(fleet("a", "b"), Steering(nodes=frozenset({"a"})), advice).grpc)["b"] == FULL_WEIGHT


def test_keys_stay_where_they_are_whatever_factor_was_ordered() -> None:
    made = route(fleet("a", "b"), Steering({"a": 0.1}), balance=Balance.RING_HASH)
    assert weights(made.grpc) == {"a": 1, "b": 1}


def test_orders_that_change_need_no_new_plan() -> None:
    planner, view, settings = Planner(), fleet("a", "b"), RoutingSettings()
    away, back = Steering(nodes=frozenset({"a"})), Steering()
    seen = [weights(planner(view, settings, Advice(), each).models["m"].grpc).get("a") for each in (back, away, back)]
    assert seen == [FULL_WEIGHT, None, FULL_WEIGHT]
