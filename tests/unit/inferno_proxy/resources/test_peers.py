"""Who is who between the data plane and the nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Dialect, ResourceType
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.resources.peers import one_socket
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan


def endpoint(port: int, kind: str) -> Endpoint:
    return Endpoint(Address("10.0.0.1", port), tls="tls" in kind, draining="draining" in kind)


@pytest.mark.parametrize(
    ("kinds", "given"),
    [
        (["plain", "plain"], [0, 1]),
        (["tls", "tls"], [0, 1]),
        (["tls", "plain", "plain"], [1, 2]),
        (["tls", "plain"], [0]),
        (["tls", "plain", "plain draining"], [0]),
        (["tls draining", "plain draining", "plain draining"], [1, 2]),
        ([], []),
    ],
)
def test_a_client_with_one_socket_is_given_the_kind_that_more_are_of(kinds: list[str], given: list[int]) -> None:
    endpoints = tuple(endpoint(port, kind) for port, kind in enumerate(kinds, 1))
    assert [each.address.port - 1 for each in one_socket(endpoints)] == given


def test_a_client_with_one_socket_is_given_priorities_without_a_gap() -> None:
    near, far, farther = endpoint(1, "tls"), endpoint(2, "plain"), endpoint(3, "plain")
    given = one_socket((near, replace(far, priority=1), replace(farther, priority=2)))
    assert [(each.address.port, each.priority) for each in given] == [(2, 0), (3, 1)]


def test_a_proxy_without_an_identity_gives_clients_no_certificate_to_ask_for() -> None:
    plan = RoutePlan({"m": ModelRoute("m", grpc=(endpoint(1, "tls"),))})
    built = build(plan, ResourceSettings("/data/control.sock", "/data/http.sock"), 1, {})
    (cluster,) = built[Dialect.GRPC].resources[ResourceType.CLUSTER].values()
    assert b"transport_sockets" not in cluster.body
