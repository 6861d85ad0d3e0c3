from __future__ import annotations

from dataclasses import replace

import pytest
from envoy_data_plane.envoy.config.core.v3 import HealthStatus
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.route.v3 import RetryPolicy
from hypothesis import given
from hypothesis import strategies as st

from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Dialect, ResourceType
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.resources.endpoints import encoded, model_endpoints
from inferno_proxy.resources.packing import delimited
from inferno_proxy.resources.retries import grpc_retries, hedges, http_retries
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan
from inferno_proxy.routing.traffic import Traffic

SETTINGS = ResourceSettings("/data/control.sock", "/data/http.sock")

ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        address=st.builds(Address, st.sampled_from(["10.0.0.1", "fd00::1"]), st.integers(1, 65535)),
        node=st.sampled_from(["a", "b"]),
        weight=st.integers(1, 300),
        draining=st.booleans(),
        region=st.sampled_from(["", "eu"]),
        zone=st.sampled_from(["", "a", "b"]),
        group=st.sampled_from(["", "canary"]),
        priority=st.integers(0, 2),
    ),
    unique_by=lambda endpoint: endpoint.address,
    max_size=8,
)


@given(ENDPOINTS, st.booleans())
def test_joined_endpoints_decode_to_what_went_in(endpoints: list[Endpoint], stateful: bool) -> None:
    route = ModelRoute("m", stateful=stateful, grpc=tuple(endpoints))
    body = next(model_endpoints(route, {})).resource.body
    decoded = ClusterLoadAssignment.parse(body)
    found = {
        Endpoint(
            Address(where.address, where.port_value or 0),
            node="",
            weight=each.load_balancing_weight or 0,
            draining=each.health_status is HealthStatus.DRAINING,
            region=group.locality.region if group.locality else "",
            zone=group.locality.zone if group.locality else "",
            group=group.locality.sub_zone if group.locality else "",
            priority=group.priority,
        )
        for group in decoded.endpoints
        for each in group.lb_endpoints
        if each.endpoint and each.endpoint.address and (where := each.endpoint.address.socket_address)
    }
    wanted = {replace(e, node="") for e in endpoints}
    assert decoded.cluster_name == "model/m/grpc"
    assert found == wanted
    for group in decoded.endpoints:
        assert group.load_balancing_weight == sum(each.load_balancing_weight or 0 for each in group.lb_endpoints)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384])
def test_a_delimited_field_has_the_length_protobuf_expects(size: int) -> None:
    joined = ClusterLoadAssignment.parse(delimited(1, b"x" * size))
    assert joined.cluster_name == "x" * size


def test_one_changed_endpoint_among_thousands_is_the_only_one_encoded_anew() -> None:
    def fleet(*, draining: bool) -> RoutePlan:
        endpoints = [
            Endpoint(Address(f"10.1.{n // 250}.{n % 250}", 8001), f"n{n}", draining=draining and n == 0)
            for n in range(2000)
        ]
        return RoutePlan({"m": ModelRoute("m", grpc=tuple(endpoints))})

    first = build(fleet(draining=False), SETTINGS, 1, {})[Dialect.ENVOY].resources
    before = encoded.cache_info().misses
    second = build(fleet(draining=True), SETTINGS, 2, {})[Dialect.ENVOY].resources
    assert encoded.cache_info().misses == before + 1
    assert {kind for kind in ResourceType if first[kind] != second[kind]} == {ResourceType.ENDPOINT}


def test_both_dialects_share_their_endpoints() -> None:
    plan = RoutePlan({"m": ModelRoute("m", grpc=(Endpoint(Address("10.0.0.1", 1)),))})
    built = build(plan, SETTINGS, 7, {"n": (1, 2)})
    shared = [built[dialect].resources[ResourceType.ENDPOINT]["model/m/grpc"] for dialect in Dialect]
    assert shared[0] is shared[1]
    assert all((made.serial, made.revisions) == (7, {"n": (1, 2)}) for made in built.values())


def conditions(policy: RetryPolicy) -> set[str]:
    return set(policy.retry_on.split(","))


def test_what_may_have_run_is_repeated_only_where_that_is_allowed() -> None:
    never_ran = {"connect-failure", "refused-stream"}
    repeatable, once = ModelRoute("m"), ModelRoute("m", repeatable=False)
    stateful = ModelRoute("m", stateful=True, repeatable=False)
    assert conditions(grpc_retries(repeatable)) == never_ran | {
        "retriable-headers",
        "unavailable",
        "cancelled",
        "reset",
    }
    assert conditions(grpc_retries(once)) == never_ran | {"retriable-headers"}
    assert conditions(grpc_retries(stateful)) == never_ran
    assert conditions(http_retries(repeatable)) == never_ran | {"retriable-status-codes", "reset"}
    assert http_retries(once).retriable_status_codes == [404]
    assert conditions(http_retries(stateful)) == never_ran


def test_a_stateful_call_is_never_tried_on_another_node() -> None:
    stateful = ModelRoute("m", stateful=True, repeatable=False)
    for policy in (grpc_retries(stateful), http_retries(stateful)):
        assert policy.retry_host_predicate == []
    assert len(grpc_retries(ModelRoute("m")).retry_host_predicate) == 1


def test_only_what_may_run_twice_and_answers_once_is_hedged() -> None:
    assert hedges(ModelRoute("m", hedge_after=1))
    assert not hedges(ModelRoute("m"))
    assert not hedges(ModelRoute("m", hedge_after=1, repeatable=False))
    assert not hedges(ModelRoute("m", hedge_after=1, decoupled=True))
    assert not hedges(ModelRoute("m", hedge_after=1, traffic=Traffic(retries=0)))
