"""What can serve and why the rest cannot."""

from __future__ import annotations

from types import MappingProxyType

from inferno_proxy.fleet import FleetView, Member, Model, ModelState, ModelVersion, Phase, Source
from inferno_proxy.services.health import Status, node_status, summarize
from tests.unit.inferno_proxy.nodes import model, node


def member(node_id: str, *models: Model, phase: Phase = Phase.SERVING, reason: str = "") -> Member:
    return Member(node(node_id, models=models), phase, Source.AGENT, 0.0, reason)


def fleet(*members: Member) -> FleetView:
    return FleetView(1, MappingProxyType({m.node.node_id: m for m in members}))


def test_an_empty_mesh_does_not_serve() -> None:
    assert summarize(FleetView()).status is Status.NOT_SERVING


def test_a_whole_mesh_serves() -> None:
    summary = summarize(fleet(member("a", model("m")), member("b", model("m"))))
    assert summary.status is Status.SERVING
    assert summary.models["m"].serving == ("a", "b")


def test_a_model_on_fewer_nodes_than_have_it_is_degraded_and_says_why() -> None:
    summary = summarize(
        fleet(
            member("a", model("m")),
            member("b", model("m"), phase=Phase.FAILED, reason="It hangs."),
            member("c", model("m", ModelState.UNAVAILABLE, reason="no config.pbtxt")),
            member("d", Model("m")),
        )
    )
    one = summary.models["m"]
    assert (one.status, one.serving, one.others) == (Status.DEGRADED, ("a",), ("b", "c", "d"))
    assert one.reason == "b: It hangs. c: the model is unavailable: no config.pbtxt. d: the model is not loaded."
    assert summary.status is Status.DEGRADED


def test_an_unmanaged_node_serves_and_degrades_the_mesh() -> None:
    lost = member("a", model("m"), phase=Phase.UNMANAGED, reason="unheard")
    summary = summarize(fleet(lost))
    assert (summary.status, summary.models["m"].status) == (Status.DEGRADED, Status.SERVING)
    assert node_status(lost) is Status.DEGRADED


def test_the_status_of_a_node_follows_its_phase() -> None:
    assert node_status(member("a")) is Status.SERVING
    assert node_status(member("a", phase=Phase.DRAINING)) is Status.NOT_SERVING


def test_ready_versions_are_in_the_order_of_numbers_and_kinds_are_united() -> None:
    versions = tuple(ModelVersion(v, ModelState.READY) for v in ("10", "9", "x"))
    summary = summarize(
        fleet(member("a", Model("m", versions, stateful=True)), member("b", Model("m", decoupled=True)))
    )
    one = summary.models["m"]
    assert one.ready_versions == ("x", "9", "10")
    assert (one.stateful, one.decoupled) == (True, True)


def test_a_mesh_whose_models_cannot_be_served_does_not_serve() -> None:
    summary = summarize(fleet(member("a", model("m"), phase=Phase.DRAINING, reason="An operator drained it.")))
    assert (summary.status, summary.models["m"].status) == (Status.NOT_SERVING, Status.NOT_SERVING)
