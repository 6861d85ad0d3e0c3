"""With which fleet settings are tried, and for which models calls are made."""

from __future__ import annotations

from inferno_proxy.fleet import FleetView, Member, Phase, Source
from inferno_proxy.reloading.rehearsal import concerned, with_stand_ins
from inferno_proxy.reloading.reload import Change
from inferno_proxy.routing.plan import RoutingSettings, plan
from tests.unit.inferno_proxy.nodes import model, node

FLEET = FleetView(
    3, {"a": Member(node("a", models=(model("served"), model("other"))), Phase.SERVING, Source.AGENT, 1.0)}
)


def test_a_model_that_no_node_has_gets_a_stand_in() -> None:
    staged = with_stand_ins(FLEET, ["*", "served", "missing"])
    assert staged.members["a"] is FLEET.members["a"]
    models = plan(staged, RoutingSettings()).models
    assert set(models) == {"served", "other", "missing", "inferno-canary"}
    assert all(models[name].grpc and models[name].http for name in ("missing", "inferno-canary"))


def test_the_models_a_change_names_are_called_and_one_that_nobody_names() -> None:
    staged = with_stand_ins(FLEET, ["missing"])
    changes = [Change(("models", name), "") for name in ("served", "missing", "gone")]
    assert concerned(staged, changes) == ["missing", "served", "inferno-canary"]


def test_a_change_for_all_models_has_all_of_them_called_those_it_names_first() -> None:
    staged = with_stand_ins(FLEET, [])
    everyone = ["inferno-canary", "other", "served"]
    assert concerned(staged, [Change(("models", "*"), "")]) == everyone
    assert concerned(staged, [Change(("region",), "")]) == everyone
    named = [Change(("models", "served"), ""), Change(("models", "*"), "")]
    assert concerned(staged, named) == ["served", "inferno-canary", "other"]


def test_no_more_than_a_hundred_models_are_called() -> None:
    staged = with_stand_ins(FLEET, [f"m{number:03}" for number in range(200)])
    assert len(concerned(staged, [Change(("region",), "")])) == 100
