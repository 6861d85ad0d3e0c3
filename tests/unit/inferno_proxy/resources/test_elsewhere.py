"""What an Envoy of another machine sees of a snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret

from inferno_proxy.envoy.bootstrap import IDENTITY, LISTEN
from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Dialect, ResourceType, Snapshot
from inferno_proxy.resources import Builder, ResourceSettings
from inferno_proxy.resources.elsewhere import Elsewhere
from inferno_proxy.resources.names import CONTROL_GRPC, GOVERNATOR, PUBLIC
from inferno_proxy.resources.settings import ServerTls
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan
from inferno_runtime.errors import InvalidInput

HERE = "/machine/a"
SETTINGS = ResourceSettings(
    f"{HERE}/control.sock",
    f"{HERE}/http.sock",
    governator=f"{HERE}/governator.sock",
    identity=Path(f"{HERE}/identity"),
    trust_domain="inferno",
    tls=ServerTls(Path(f"{HERE}/served")),
    mesh=Address("10.0.0.1", 8443),
    access_log=f"{HERE}/access.log",
    trusted=("10.0.0.0/8",),
)
EDGE = {LISTEN: "127.0.0.1:9000", IDENTITY: "/machine/b/edge"}


def told(metadata: dict[str, str]) -> Elsewhere:
    made = Elsewhere.told(metadata)
    assert made is not None
    return made


def plan(*ports: int) -> RoutePlan:
    endpoints = tuple(Endpoint(Address("10.0.0.2", port), tls=True) for port in ports)
    return RoutePlan({"m": ModelRoute("m", grpc=endpoints)})


def test_it_gets_its_own_address_and_files_and_nothing_of_the_other_machine() -> None:
    snapshot = Builder()(plan(1), SETTINGS, 1, {})[Dialect.ENVOY]
    seen = told(EDGE).seen(snapshot).resources
    # The routes and endpoints are the very same.
    for kind in (ResourceType.ENDPOINT, ResourceType.ROUTE, ResourceType.RUNTIME, ResourceType.BUCKET):
        assert (seen[kind] is snapshot.resources[kind]) or kind is ResourceType.ROUTE
    (listener,) = (Listener.parse(each.body) for each in seen[ResourceType.LISTENER].values())
    assert listener.name == PUBLIC
    assert listener.address is not None
    where = listener.address.socket_address
    assert where is not None
    assert (where.address, where.port_value) == ("127.0.0.1", 9000)
    secrets = {name: Secret.parse(each.body) for name, each in seen[ResourceType.SECRET].items()}
    assert set(secrets) == {"identity", "authority"}
    assert "/machine/b/edge/current/key.pem" in str(secrets["identity"])
    assert "/machine/b/edge/current/ca.pem" in str(secrets["authority"])
    bodies = [each.body for kind, named in seen.items() if kind is not ResourceType.ROUTE for each in named.values()]
    assert not any(HERE.encode() in body for body in bodies)
    for name in (CONTROL_GRPC, GOVERNATOR):
        cluster = Cluster.parse(seen[ResourceType.CLUSTER][name].body)
        assert cluster.load_assignment is not None
        assert not any(each.lb_endpoints for each in cluster.load_assignment.endpoints)


def test_what_did_not_change_is_the_same_object() -> None:
    build, edge = Builder(), told(EDGE)
    first = build(plan(1), SETTINGS, 1, {})[Dialect.ENVOY]
    second = build(plan(2), SETTINGS, 2, {})[Dialect.ENVOY]
    one, other = edge.seen(first), edge.seen(second)
    assert edge.seen(second) is other
    assert {kind for kind in ResourceType if one.resources[kind] is not other.resources[kind]} == {
        ResourceType.ENDPOINT
    }


def test_without_an_identity_nobody_has_secrets() -> None:
    plain = ResourceSettings("/a", "/b")
    seen = told({LISTEN: "[::1]:9000"}).seen(Builder()(plan(), plain, 1, {})[Dialect.ENVOY])
    assert not seen.resources[ResourceType.SECRET]
    assert not any(b"transport_socket" in each.body for each in seen.resources[ResourceType.CLUSTER].values())
    assert not told(EDGE).seen(Snapshot()).resources[ResourceType.LISTENER]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({LISTEN: "nowhere"}, "is not host:port"),
        ({LISTEN: "edge.example:80"}, "does not begin with an IP address"),
        ({**EDGE, IDENTITY: "edge"}, "is 'edge', which is no absolute path"),
    ],
)
def test_what_no_envoy_can_use_is_refused(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Elsewhere.told(metadata)


def test_who_says_nothing_is_at_home() -> None:
    assert Elsewhere.told({}) is None
