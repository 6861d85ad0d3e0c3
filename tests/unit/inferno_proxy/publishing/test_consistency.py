from __future__ import annotations

from typing import Any

import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType, ClusterEdsClusterConfig
from envoy_data_plane.envoy.config.listener.v3 import ApiListener, Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    Route,
    RouteAction,
    RouteActionRequestMirrorPolicy,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
    WeightedClusterClusterWeight,
)
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpConnectionManager, Rds
from envoy_data_plane.google.protobuf import Any as Packed

from inferno_proxy.publishing.consistency import Inspector
from inferno_proxy.publishing.snapshot import Resource, ResourceType, Snapshot

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def eds(name: str, service_name: str = "") -> Resource:
    config = ClusterEdsClusterConfig(service_name=service_name)
    return Resource.of(name, bytes(Cluster(name=name, type=ClusterDiscoveryType.EDS, eds_cluster_config=config)))


def static(name: str) -> Resource:
    return Resource.of(name, bytes(Cluster(name=name, type=ClusterDiscoveryType.STATIC)))


def configuration(name: str, action: RouteAction) -> RouteConfiguration:
    route = Route(match=RouteMatch(prefix="/"), route=action)
    return RouteConfiguration(name=name, virtual_hosts=[VirtualHost(name="v", domains=["*"], routes=[route])])


def routes(name: str, action: RouteAction) -> Resource:
    return Resource.of(name, bytes(configuration(name, action)))


def manager(**fields: Any) -> Packed:
    return Packed(type_url=MANAGER, value=bytes(HttpConnectionManager(stat_prefix="s", **fields)))


def snapshot(*resources: tuple[ResourceType, Resource]) -> Snapshot:
    by_type: dict[ResourceType, dict[str, Resource]] = {kind: {} for kind in ResourceType}
    for kind, resource in resources:
        by_type[kind][resource.name] = resource
    return Snapshot(1, by_type)


def inspect(*resources: tuple[ResourceType, Resource]) -> list[str]:
    return Inspector().inspect(snapshot(*resources))


C, S, E, L, R, *_ = ResourceType


def test_an_empty_snapshot_is_sound() -> None:
    assert inspect() == []


def test_a_cluster_without_its_endpoints_is_found() -> None:
    assert inspect((C, eds("a"))) == ["cds 'a' needs eds 'a', which is missing."]
    assert inspect((C, eds("a")), (E, Resource.of("a", b""))) == []


def test_a_cluster_that_takes_its_endpoints_under_another_name_is_found() -> None:
    assert inspect((C, eds("a", "b")), (E, Resource.of("b", b""))) == [
        "cds 'a' takes its endpoints under the name 'b' instead of its own."
    ]


def test_a_static_cluster_needs_no_endpoints() -> None:
    assert inspect((C, static("a"))) == []


@pytest.mark.parametrize(
    "action",
    [
        RouteAction(cluster="x"),
        RouteAction(weighted_clusters=WeightedCluster(clusters=[WeightedClusterClusterWeight(name="x")])),
        RouteAction(cluster_header="h", request_mirror_policies=[RouteActionRequestMirrorPolicy(cluster="x")]),
    ],
)
def test_a_route_to_a_missing_cluster_is_found(action: RouteAction) -> None:
    assert inspect((R, routes("r", action))) == ["rds 'r' needs cds 'x', which is missing."]
    assert inspect((R, routes("r", action)), (C, static("x"))) == []


@pytest.mark.parametrize(
    "listener",
    [
        Listener(
            name="l",
            filter_chains=[FilterChain(filters=[Filter(typed_config=manager(rds=Rds(route_config_name="r")))])],
        ),
        Listener(
            name="l",
            default_filter_chain=FilterChain(filters=[Filter(typed_config=manager(rds=Rds(route_config_name="r")))]),
        ),
        Listener(name="l", api_listener=ApiListener(api_listener=manager(rds=Rds(route_config_name="r")))),
    ],
)
def test_a_listener_without_its_routes_is_found(listener: Listener) -> None:
    assert inspect((L, Resource.of("l", bytes(listener)))) == ["lds 'l' needs rds 'r', which is missing."]


def test_routes_inside_a_listener_are_looked_at() -> None:
    inline = manager(route_config=configuration("r", RouteAction(cluster="x")))
    listener = Listener(name="l", filter_chains=[FilterChain(filters=[Filter(typed_config=inline)])])
    assert inspect((L, Resource.of("l", bytes(listener)))) == ["lds 'l' needs cds 'x', which is missing."]


def test_a_resource_filed_under_another_name_is_found() -> None:
    made = Snapshot(1, {C: {"b": static("a")}})
    assert Inspector().inspect(made) == ["cds 'a' is filed under 'b'."]


def test_a_resource_that_cannot_be_decoded_is_found() -> None:
    (sentence,) = inspect((C, Resource.of("a", b"\x0a\xff")))
    assert sentence.startswith("cds 'a' cannot be decoded")


def test_a_reference_is_checked_again_when_its_target_disappears() -> None:
    inspector = Inspector()
    route = (R, routes("r", RouteAction(cluster="x")))
    assert inspector.inspect(snapshot(route, (C, static("x")))) == []
    assert inspector.inspect(snapshot(route)) == ["rds 'r' needs cds 'x', which is missing."]
