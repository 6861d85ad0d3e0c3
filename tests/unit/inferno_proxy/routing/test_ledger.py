"""A plan that follows a fleet is the plan for that fleet, whatever happened before, and keeps what did not change."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st

from inferno_proxy.fleet import (
    Address,
    FleetView,
    Member,
    Model,
    ModelState,
    ModelVersion,
    Node,
    Phase,
    Source,
    changed,
)
from inferno_proxy.resources import Builder, ResourceSettings, build
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.ledger import Ledger
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_proxy.routing.traffic import Mirror, Split, Traffic, TrafficTable

NAMES = [f"n{number}" for number in range(12)]
HOSTS = st.sampled_from([f"10.0.0.{number}" for number in range(1, 9)])
SETTINGS = [
    RoutingSettings(),
    RoutingSettings(region="here", zone="a"),
    RoutingSettings(
        traffic=TrafficTable(
            {
                "split": Traffic(split=Split("group", (("x", 9), ("y", 1)))),
                "copied": Traffic(mirror=Mirror("group", "x")),
            }
        ),
        aliases={"other": Alias("plain"), "plain": Alias("split")},
    ),
]

models = st.builds(
    Model,
    name=st.sampled_from(["plain", "split", "copied"]),
    versions=st.sampled_from([(ModelVersion("1", ModelState.READY),), (ModelVersion("1", ModelState.LOADING),)]),
    stateful=st.sampled_from([False] * 5 + [True]),
    decoupled=st.booleans(),
)
nodes = st.builds(
    Node,
    node_id=st.just(""),
    incarnation=st.just(1),
    grpc_address=st.builds(Address, st.one_of(HOSTS, HOSTS, st.just("a.name")), st.just(8001)),
    http_address=st.one_of(st.none(), st.builds(Address, HOSTS, st.sampled_from([8000, 8001]))),
    models=st.lists(models, max_size=3, unique_by=lambda model: model.name).map(tuple),
    region=st.sampled_from(["here", "there"]),
    zone=st.sampled_from(["a", "b"]),
    labels=st.sampled_from([{}, {"group": "x"}, {"group": "y"}]),
)
members = st.builds(
    Member,
    node=nodes,
    phase=st.sampled_from([Phase.SERVING] * 3 + list(Phase)),
    source=st.sampled_from(Source),
    since=st.sampled_from([1.0, 2.0]),
)
# What happens to some nodes at once: each comes, is another one now, or goes.
steps = st.dictionaries(st.sampled_from(NAMES), st.one_of(members, members, members, st.none()), max_size=4)


def after(view: FleetView, step: dict[str, Member | None]) -> FleetView:
    there = dict(view.members)
    for name, member in step.items():
        there.pop(name, None)
        if member is not None:
            there[name] = replace(member, node=replace(member.node, node_id=name))
    return FleetView(view.serial + 1, MappingProxyType(there))


@given(st.sampled_from(SETTINGS), st.lists(steps, max_size=12))
@settings(max_examples=150, deadline=None)
def test_following_a_fleet_gives_the_plan_for_it(
    routing: RoutingSettings, history: list[dict[str, Member | None]]
) -> None:
    ledger, view = Ledger(routing), FleetView()
    for step in history:
        view = after(view, step)
        followed, alone = ledger.follow(view), plan(view, routing)
        assert followed == alone
        assert list(followed.models) == list(alone.models)
        assert ledger.follow(replace(view)) is followed


def fleet(size: int) -> FleetView:
    made = {}
    for number in range(size):
        own = Model(f"m{number % 3}", (ModelVersion("1", ModelState.READY),))
        address = Address(f"10.0.{number // 250}.{1 + number % 250}", 8001)
        node = Node(f"n{number}", 1, address, replace(address, port=8000), models=(own,))
        made[node.node_id] = Member(node, Phase.SERVING, Source.AGENT, 1.0)
    return FleetView(1, MappingProxyType(made))


def test_what_a_change_does_not_touch_stays_the_same_object() -> None:
    view, ledger = fleet(300), Ledger(RoutingSettings())
    before = ledger.follow(view)
    drained = FleetView(2, MappingProxyType({**view.members, "n0": replace(view.members["n0"], phase=Phase.DRAINING)}))
    now = ledger.follow(drained)
    assert [name for name in now.models if now.models[name] is not before.models[name]] == ["m0"]
    assert (
        sum(one is not other for one, other in zip(now.models["m0"].grpc, before.models["m0"].grpc, strict=True)) == 1
    )
    reported = replace(drained.members["n0"], reason="Somebody said why.")
    assert ledger.follow(FleetView(3, MappingProxyType({**drained.members, "n0": reported}))) is now


def test_a_builder_makes_the_same_of_a_change_and_keeps_every_other_type() -> None:
    view, ledger, builder = fleet(30), Ledger(RoutingSettings()), Builder()
    resources = ResourceSettings("/data/control.sock", "/data/http.sock")
    before = builder(ledger.follow(view), resources, 1, {})
    for number in range(5):
        name = f"n{number}"
        there = {**view.members, name: replace(view.members[name], phase=Phase.DRAINING)}
        view = FleetView(view.serial + 1, MappingProxyType(there))
        planned = ledger.follow(view)
        made = builder(planned, resources, view.serial, {})
        assert made == build(planned, resources, view.serial, {})
        for dialect, snapshot in made.items():
            kept = {kind for kind, one in snapshot.resources.items() if one is before[dialect].resources[kind]}
            assert {kind.short for kind in snapshot.resources.keys() - kept} == {"eds"}
        before = made
    other = replace(resources, healing=False)
    assert builder(ledger.follow(view), other, 9, {}) == build(ledger.follow(view), other, 9, {})


def test_which_members_changed() -> None:
    view = fleet(3)
    there = dict(view.members)
    del there["n0"]
    there["n1"] = replace(there["n1"], reason="x")
    there["n9"] = there["n2"]
    assert changed(view, view) == frozenset()
    assert changed(view, FleetView(2, there)) == {"n0", "n1", "n9"}
