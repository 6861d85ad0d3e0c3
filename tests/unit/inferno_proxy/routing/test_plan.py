from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from inferno_proxy.routing.plan import Endpoint, RoutingSettings, plan
from inferno_proxy.routing.traffic import Traffic, TrafficTable
from inferno_runtime.places import Place

READY = (ModelVersion("1", ModelState.READY),)
LOADING = (ModelVersion("1", ModelState.LOADING),)


def member(
    name: str,
    *models: Model,
    host: str = "10.0.0.1",
    port: int = 8001,
    http: int | None = None,
    phase: Phase = Phase.SERVING,
    source: Source = Source.AGENT,
    since: float = 0.0,
) -> Member:
    node = Node(
        name,
        1,
        Address(host, port),
        Address(host, http) if http else None,
        models=models or (Model("m", READY),),
        zone="z1",
    )
    return Member(node, phase, source, since)


def view(*members: Member) -> FleetView:
    return FleetView(1, {m.node.node_id: m for m in members})


def planned(*members: Member, **settings: object) -> tuple[Endpoint, ...]:
    return plan(view(*members), RoutingSettings(**settings)).models["m"].grpc  # type: ignore[arg-type]


def test_every_ready_model_of_a_node_that_takes_work_has_an_endpoint() -> None:
    route = plan(view(member("a", http=8000)), RoutingSettings()).models["m"]
    assert route.grpc == (Endpoint(Address("10.0.0.1", 8001), "a", zone="z1"),)
    assert route.http == (Endpoint(Address("10.0.0.1", 8000), "a", zone="z1"),)


@pytest.mark.parametrize(
    ("phase", "draining"), [(Phase.SERVING, False), (Phase.UNMANAGED, False), (Phase.DRAINING, True)]
)
def test_a_draining_node_keeps_a_draining_endpoint(phase: Phase, draining: bool) -> None:
    assert [e.draining for e in planned(member("a", phase=phase))] == [draining]


def test_a_failed_node_gives_no_endpoint_but_its_models_stay_known() -> None:
    made = plan(view(member("a", phase=Phase.FAILED)), RoutingSettings())
    assert made.models["m"].grpc == ()
    assert made.left_out == {}


def test_a_model_that_is_ready_nowhere_keeps_its_route_without_endpoints() -> None:
    assert planned(member("a", Model("m", LOADING))) == ()


def test_a_node_without_a_rest_address_serves_grpc_only() -> None:
    route = plan(view(member("a")), RoutingSettings()).models["m"]
    assert (len(route.grpc), route.http) == (1, ())


def test_a_model_is_stateful_when_any_node_says_so_and_then_never_repeated() -> None:
    other = member("b", Model("m", READY, stateful=True, decoupled=True), port=8002)
    route = plan(view(member("a"), other), RoutingSettings()).models["m"]
    assert (route.stateful, route.decoupled, route.repeatable) == (True, True, False)


@pytest.mark.parametrize(
    ("settings", "repeatable"),
    [
        (RoutingSettings(), True),
        (RoutingSettings(TrafficTable(others=Traffic(repeatable=False))), False),
        (RoutingSettings(TrafficTable({"m": Traffic(repeatable=False)})), False),
        (RoutingSettings(TrafficTable({"other": Traffic(repeatable=False)})), True),
    ],
)
def test_the_operator_decides_which_stateless_models_may_run_twice(settings: RoutingSettings, repeatable: bool) -> None:
    assert plan(view(member("a")), settings).models["m"].repeatable is repeatable


@pytest.mark.parametrize(
    ("region", "zone", "distances"),
    [("", "", [0, 0, 0, 0]), ("eu", "", [0, 0, 7, 7]), ("eu", "a", [0, 1, 7, 7]), ("", "a", [0, 1, 0, 1])],
)
def test_nearness_is_the_own_zone_then_the_own_region(region: str, zone: str, distances: list[int]) -> None:
    settings = RoutingSettings(region=region, zone=zone)
    places = [("eu", "a"), ("eu", "b"), ("us", "a"), ("", "")]
    assert [settings.distance(*place) for place in places] == distances


def test_farther_regions_come_later_and_those_nobody_knows_last() -> None:
    home = RoutingSettings(region="eu-west-1", places={"attic": Place(53.4, -6.2)})
    regions = ["eu-west-1", "attic", "uksouth", "europe-west3", "eu-south-2", "us-east-1", "us-west-2", "sydney", ""]
    assert [home.distance(region, "") for region in regions] == [0, 2, 2, 3, 3, 5, 5, 7, 7]
    assert home.distance("australiaeast", "") == 6


def test_an_operator_knows_better_where_a_region_is() -> None:
    settings = RoutingSettings(region="eu-west-1", places={"us-east-1": Place(53.3, -6.3)})
    assert settings.distance("us-east-1", "") == 2


def test_nearness_counts_for_nothing_where_that_is_asked() -> None:
    settings = RoutingSettings(region="eu-west-1", zone="a", nearest_first=False)
    assert {settings.distance(*place) for place in (("eu-west-1", "a"), ("eu-west-1", "b"), ("us-east-1", "a"))} == {0}
    assert not plan(view(member("a")), settings).models["m"].nearest_first


def test_priorities_of_a_model_have_no_gap() -> None:
    far, near = member("far", port=8002), member("near")
    near = replace(near, node=replace(near.node, region="eu", zone="b"))
    made = plan(view(near, far), RoutingSettings(region="eu", zone="a")).models["m"].grpc
    assert {endpoint.node: endpoint.priority for endpoint in made} == {"near": 0, "far": 1}


def test_an_address_given_as_a_name_is_left_out_with_the_reason() -> None:
    made = plan(view(member("a", host="gpu-1.example"), member("b")), RoutingSettings())
    assert [e.node for e in made.models["m"].grpc] == ["b"]
    assert "gpu-1.example:8001 is a host name" in made.left_out["a"]


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        (member("old", since=1.0), member("new", since=2.0)),
        (member("gone", phase=Phase.UNMANAGED, since=2.0), member("here", since=1.0)),
        (member("list", source=Source.STATIC, since=2.0), member("agent", since=1.0)),
        (member("list", source=Source.STATIC, since=2.0), member("said", source=Source.ANNOUNCED, since=1.0)),
    ],
)
def test_an_address_that_two_nodes_claim_belongs_to_the_stronger_claim(weaker: Member, stronger: Member) -> None:
    other = Model("theirs", READY)
    loser = member(weaker.node.node_id, other, phase=weaker.phase, source=weaker.source, since=weaker.since)
    for order in ((loser, stronger), (stronger, loser)):
        made = plan(view(*order), RoutingSettings())
        assert [e.node for e in made.models["m"].grpc] == [stronger.node.node_id]
        assert made.models["theirs"].grpc == ()
        assert f"belongs to node {stronger.node.node_id!r}" in made.left_out[loser.node.node_id]


def test_an_ipv6_address_is_an_address() -> None:
    assert [str(e.address) for e in planned(member("a", host="fd00::7"))] == ["[fd00::7]:8001"]


PHASES = st.sampled_from(Phase)
MEMBERS = st.dictionaries(
    st.sampled_from([f"n{i}" for i in range(6)]),
    st.tuples(st.integers(1, 4), PHASES, st.sampled_from(Source), st.booleans(), st.sampled_from(["m", "k"])),
    max_size=6,
)


@given(MEMBERS)
def test_no_plan_holds_an_address_twice_and_order_does_not_matter(
    drawn: dict[str, tuple[int, Phase, Source, bool, str]],
) -> None:
    members = [
        member(name, Model(model, READY if ready else LOADING), port=port, phase=phase, source=source)
        for name, (port, phase, source, ready, model) in drawn.items()
    ]
    made = plan(view(*members), RoutingSettings())
    endpoints = [e for route in made.models.values() for e in route.grpc]
    assert len({e.address for e in endpoints}) == len(endpoints)
    assert set(made.models) == {model for *_, model in drawn.values()}
    assert made == plan(view(*reversed(members)), RoutingSettings())
