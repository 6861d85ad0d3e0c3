"""What operators hold back takes no work, to whoever asks for health."""

from __future__ import annotations

import asyncio

from inferno_proxy.fleet import FleetView, Member, ModelState, Phase, Source
from inferno_proxy.routing.offered import follow, offered
from inferno_proxy.routing.steering import FREE, Steering
from inferno_proxy.services.health import Status, summarize
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import model, node
from tests.waiting import eventually


def fleet(*members: Member) -> FleetView:
    return FleetView(1, {member.node.node_id: member for member in members})


def member(name: str, phase: Phase = Phase.SERVING, reason: str = "") -> Member:
    made = node(name, models=(model("m"), model("n"), model("loading", ModelState.LOADING)))
    return Member(made, phase, Source.AGENT, 0.0, reason)


def test_a_fleet_without_orders_stays_the_same_object() -> None:
    view = fleet(member("a"))
    for steering in (FREE, Steering(factors={"a": 0.5}), Steering(nodes=frozenset({"gone"}), models=frozenset({"x"}))):
        assert offered(view, steering) is view


def test_a_node_held_back_drains_and_says_whose_order_that_is() -> None:
    view = fleet(member("a"), member("b"), member("c", Phase.FAILED, "It is dead."))
    for steering in (Steering(nodes=frozenset({"a", "c"})), Steering(factors={"a": 0, "c": 0})):
        seen = offered(view, steering).members
        assert (seen["a"].phase, "An operator ordered" in seen["a"].reason) == (Phase.DRAINING, True)
        assert seen["b"] is view.members["b"]
        assert (seen["c"].phase, seen["c"].reason) == (Phase.FAILED, "It is dead.")


def test_a_mesh_whose_nodes_are_all_held_back_serves_nothing() -> None:
    view = fleet(member("a"), member("b"))
    assert summarize(offered(view, Steering(nodes=frozenset({"a"})))).status is Status.DEGRADED
    assert summarize(offered(view, Steering(nodes=frozenset({"a", "b"})))).status is Status.NOT_SERVING


def test_a_model_held_back_is_unavailable_and_the_others_are_as_before() -> None:
    seen = offered(
        fleet(member("a"), member("b")), Steering(nodes=frozenset({"b"}), models=frozenset({"m", "loading"}))
    )
    summary = summarize(seen).models
    assert {name: one.status for name, one in summary.items()} == {
        "m": Status.NOT_SERVING,
        "n": Status.DEGRADED,
        "loading": Status.NOT_SERVING,
    }
    assert "a: the model is unavailable: An operator ordered" in summary["m"].reason
    assert "a: the model is loading." in summary["loading"].reason


async def test_it_follows_fleet_and_orders() -> None:
    view, steering = Latest(fleet(member("a"))), Latest(FREE)
    into = Latest(view.value)
    following = asyncio.create_task(follow(view, steering, into))
    steering.set(Steering(nodes=frozenset({"a"})))
    await eventually(lambda: not into.value.members["a"].takes_work, 1, "the order counts")
    view.set(fleet(member("a"), member("b")))
    await eventually(lambda: "b" in into.value.members, 1, "the fleet is followed")
    assert not into.value.members["a"].takes_work
    following.cancel()
