"""Resources for gRPC clients that balance by themselves (``xds:///<model>``).

gRPC reads far less of xDS than Envoy and refuses what it does not know, so these are built apart. What grpcio 1.85
takes: an ApiListener with only the router filter, its own route configuration, EDS clusters with round_robin or
ring_hash, outlier detection by failure percentage, and retries on gRPC status codes. It runs no health checks: the
control plane's verdict, sent as endpoints, is how such a client learns of a dead node.
"""

from __future__ import annotations

from functools import lru_cache

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
    ClusterLbPolicy,
    ClusterRingHashLbConfig,
    OutlierDetection,
)
from envoy_data_plane.envoy.config.listener.v3 import ApiListener, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    RetryPolicy,
    RetryPolicyRetryBackOff,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)

from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources.calls import GRPC_STREAM, call_deadline, hash_policies
from inferno_proxy.resources.clusters import ads
from inferno_proxy.resources.names import grpc_cluster
from inferno_proxy.resources.packing import packed, seconds
from inferno_proxy.resources.peers import client_socket, one_socket
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing.plan import ModelRoute


@lru_cache(maxsize=4096)
def api_listener(model: str) -> Resource:
    """The listener that ``xds:///<model>`` asks for."""
    manager = HttpConnectionManager(
        rds=Rds(config_source=ads(), route_config_name=model),
        http_filters=[HttpFilter(name="envoy.filters.http.router", typed_config=packed(Router()))],
    )
    return Resource.of(model, bytes(Listener(name=model, api_listener=ApiListener(api_listener=packed(manager)))))


@lru_cache(maxsize=4096)
def model_route(route: ModelRoute, healing: bool) -> Resource:
    """Everything a client sends over the channel goes to the model's endpoints.

    UNAVAILABLE is what gRPC itself reports for a lost connection, also when the call may have run; so only a model that
    may be executed twice is tried again. Calls that never left are repeated by gRPC without any policy. A client of a
    stateful model names its sequence in the ``x-inferno-sequence`` metadata, since nothing reads the message here.
    """
    model, traffic = route.name, route.traffic
    routes = [_route(route, RouteMatch(prefix=""), traffic.timeout, healing)]
    if traffic.timeout != traffic.stream_timeout:
        routes.insert(0, _route(route, RouteMatch(path=GRPC_STREAM), traffic.stream_timeout, healing))
    virtual_host = VirtualHost(name=model, domains=["*"], routes=routes)
    return Resource.of(model, bytes(RouteConfiguration(name=model, virtual_hosts=[virtual_host])))


def _route(route: ModelRoute, match: RouteMatch, timeout: float, healing: bool) -> Route:
    action = RouteAction(cluster=grpc_cluster(route.name), hash_policy=hash_policies(route))
    if timeout:
        action.max_stream_duration = call_deadline(timeout)
    if route.repeatable and healing and route.traffic.retries:
        action.retry_policy = RetryPolicy(
            retry_on="unavailable,cancelled",
            num_retries=route.traffic.retries,
            retry_back_off=RetryPolicyRetryBackOff(base_interval=seconds(0.01), max_interval=seconds(0.1)),
        )
    return Route(match=match, route=action)


@lru_cache(maxsize=4096)
def client_cluster(model: str, keyed: bool, healing: bool, concurrency: int, domain: str = "") -> Resource:
    """The cluster of a model's gRPC endpoints, as gRPC clients understand it; over TLS to the nodes of ``domain`` if
    that is given."""
    name = grpc_cluster(model)
    cluster = Cluster(
        name=name,
        type=ClusterDiscoveryType.EDS,
        eds_cluster_config=ClusterEdsClusterConfig(eds_config=ads(), service_name=name),
        lb_policy=ClusterLbPolicy.RING_HASH if keyed else ClusterLbPolicy.ROUND_ROBIN,
    )
    if keyed:
        cluster.ring_hash_lb_config = ClusterRingHashLbConfig(minimum_ring_size=1024)
    elif healing:
        cluster.outlier_detection = OutlierDetection(
            interval=seconds(1),
            base_ejection_time=seconds(2),
            max_ejection_time=seconds(10),
            max_ejection_percent=50,
            enforcing_success_rate=0,
            failure_percentage_threshold=50,
            enforcing_failure_percentage=100,
            failure_percentage_minimum_hosts=2,
            failure_percentage_request_volume=10,
        )
    if concurrency:
        cluster.circuit_breakers = CircuitBreakers(thresholds=[CircuitBreakersThresholds(max_requests=concurrency)])
    if domain:
        cluster.transport_socket = client_socket(domain)
    return Resource.of(name, bytes(cluster))


def client_resources(route: ModelRoute, settings: ResourceSettings) -> tuple[Resource, Resource, Resource]:
    """Listener, route configuration and cluster of one model."""
    secured = settings.identity is not None and any(each.tls for each in one_socket(route.grpc))
    return (
        api_listener(route.name),
        model_route(route.without_endpoints(), settings.healing),
        client_cluster(
            route.name,
            route.keyed,
            settings.healing,
            route.traffic.max_concurrency,
            settings.trust_domain if secured else "",
        ),
    )
