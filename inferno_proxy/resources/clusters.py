"""Cluster resources (CDS) for Envoy: how a group of endpoints is watched, chosen from and connected to.

The numbers behind healing were measured with Envoy 1.40 over real Triton servers; docs/decisions/0012 has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import betterproto2
from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterCommonLbConfig,
    ClusterDiscoveryType,
    ClusterDnsLookupFamily,
    ClusterEdsClusterConfig,
    LoadBalancingPolicy,
    LoadBalancingPolicyPolicy,
    OutlierDetection,
)
from envoy_data_plane.envoy.config.core.v3 import (
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    HealthCheckHttpHealthCheck,
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    KeepaliveSettings,
    RoutingPriority,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.extensions.load_balancing_policies.common.v3 import (
    LocalityLbConfig,
    LocalityLbConfigLocalityWeightedLbConfig,
    SlowStartConfig,
)
from envoy_data_plane.envoy.extensions.load_balancing_policies.least_request.v3 import LeastRequest
from envoy_data_plane.envoy.extensions.load_balancing_policies.maglev.v3 import Maglev
from envoy_data_plane.envoy.extensions.load_balancing_policies.random.v3 import Random
from envoy_data_plane.envoy.extensions.load_balancing_policies.ring_hash.v3 import RingHash
from envoy_data_plane.envoy.extensions.load_balancing_policies.round_robin.v3 import RoundRobin
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import HttpProtocolOptions as UpstreamProtocol
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import HttpProtocolOptionsExplicitHttpConfig as ExplicitHttp
from envoy_data_plane.envoy.type.v3 import Percent
from envoy_data_plane.google.protobuf import Any

from inferno_proxy.fleet import Address
from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources.names import (
    COLLECTOR,
    CONTROL_GRPC,
    CONTROL_HTTP,
    GOVERNATOR,
    RATE_LIMITS,
    copies_of,
    grpc_cluster,
    http_cluster,
    path_segment,
)
from inferno_proxy.resources.packing import envoy_address, packed, seconds
from inferno_proxy.resources.peers import sockets
from inferno_proxy.resources.priorities import ordinary_limit
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.resources.tokens import key_cluster
from inferno_proxy.routing.plan import ModelRoute
from inferno_proxy.routing.traffic import Balance

# Seconds. A stopped (SIGSTOP) server is noticed by whichever is first; the worst request then waits about 0.6 s.
_PROBE_INTERVAL = 0.5
_PROBE_TIMEOUT = 0.3
_CONNECT_TIMEOUT = 0.5
# Far above any real concurrency: the default of 3 retries at a time defeats failover exactly when it is needed.
_MANY = 1_000_000
_MAX_RETRIES = 1024


@dataclass(frozen=True, slots=True)
class Choice:
    """How one endpoint is chosen; ``weighted``: after a locality, by its weight. At most ``concurrency`` calls are
    under way at a time, 0 for no limit; ``priorities``: those of high priority are counted apart. A new endpoint takes
    its full share after ``slow_start`` seconds."""

    balance: Balance = Balance.LEAST_REQUEST
    weighted: bool = False
    concurrency: int = 0
    priorities: bool = False
    slow_start: float = 0.0


@dataclass(frozen=True, slots=True)
class Member:
    """Who the data plane is to nodes that take TLS: the folder of its identity, None without one, and its mesh.
    ``elsewhere``: the folder is another machine's, so Envoy asks where it is."""

    identity: Path | None
    domain: str
    elsewhere: bool = False


def cluster_resources(route: ModelRoute, settings: ResourceSettings) -> Iterator[Resource]:
    """The gRPC and the REST cluster of one model, and of those who get copies of its calls."""
    healing = settings.healing
    member = Member(settings.identity, settings.trust_domain, settings.elsewhere)
    balance = balance_of(route)
    choice = Choice(
        balance,
        weighted=route.traffic.split is not None,
        concurrency=route.traffic.max_concurrency,
        priorities=bool(settings.priority_header),
        slow_start=route.traffic.slow_start if balance.ramps else 0.0,
    )
    ready_path = f"/v2/models/{path_segment(route.name)}/ready"
    for name, path in ((grpc_cluster(route.name), ""), (http_cluster(route.name), ready_path)):
        yield _model_cluster(name, choice, healing, member, ready_path=path)
        if route.mirror is not None:
            yield _model_cluster(copies_of(name), Choice(), healing, member, ready_path=path)


def service_clusters(settings: ResourceSettings) -> Iterator[Resource]:
    """The control plane's two sockets and, when there are any, the governator, the rate limit service and
    the collector of traces."""
    here = not settings.elsewhere
    yield _service_cluster(CONTROL_GRPC, settings.control_grpc if here else None, http2=True)
    yield _service_cluster(CONTROL_HTTP, settings.control_http if here else None, http2=False)
    if settings.governator is not None:
        yield _service_cluster(GOVERNATOR, settings.governator if here else None, http2=True)
    if settings.rate_limit_service is not None:
        yield _service_cluster(RATE_LIMITS, settings.rate_limit_service, http2=True, named=True)
    if settings.traces is not None:
        yield _service_cluster(COLLECTOR, settings.traces.collector, http2=True, named=True)
    if settings.tokens is not None and settings.tokens.is_remote:
        yield key_cluster(settings.tokens)


@lru_cache(maxsize=4096)
def _model_cluster(name: str, choice: Choice, healing: bool, member: Member, *, ready_path: str) -> Resource:
    """``ready_path`` is what to probe over REST, or empty for a gRPC cluster."""
    # Two encodings of a message, joined, are the encoding of both together.
    body = _own(name, healing, ready_path) + _shared(choice, healing, member, http2=not ready_path)
    return Resource.of(name, body)


@lru_cache(maxsize=4096)
def _own(name: str, healing: bool, ready_path: str) -> bytes:
    """What no other cluster has."""
    own = Cluster(name=name, eds_cluster_config=ClusterEdsClusterConfig(eds_config=ads(), service_name=name))
    if healing:
        own.health_checks = [_probe(ready_path)]
    return bytes(own)


@lru_cache(maxsize=256)
def _shared(choice: Choice, healing: bool, member: Member, *, http2: bool) -> bytes:
    """What the clusters of all models have that are treated alike: most of their encoding, which takes 3 ms."""
    cluster = Cluster(
        type=ClusterDiscoveryType.EDS,
        connect_timeout=seconds(_CONNECT_TIMEOUT),
        load_balancing_policy=_balancing(choice),
        # With the default of 50 %, two dead hosts of three get two thirds of the calls. At 1 % calls go to hosts that
        # look dead only when all do: a machine too busy to answer its probes is still the best there is. The merge
        # window of one second would keep calls from a node for that long after it joined or was found healthy.
        common_lb_config=ClusterCommonLbConfig(
            healthy_panic_threshold=Percent(value=1), update_merge_window=seconds(0)
        ),
        ignore_health_on_host_removal=True,
        circuit_breakers=_limits(_MAX_RETRIES if healing else 0, choice),
        typed_extension_protocol_options=_protocol(http2=http2, keepalive=healing),
    )
    if healing:
        cluster.outlier_detection = _outliers()
    if member.identity is not None:
        identity = None if member.elsewhere else member.identity
        cluster.transport_socket_matches = list(sockets(identity, member.domain, http2=http2))
    return bytes(cluster)


@lru_cache(maxsize=64)
def _service_cluster(name: str, where: Address | str | None, *, http2: bool, named: bool = False) -> Resource:
    """``named``: the host may be a name, which Envoy then looks up, and again and again. Without ``where`` it is
    nowhere: another process of that machine may be behind the same path."""
    endpoints = [LbEndpoint(endpoint=Endpoint(address=envoy_address(where)))] if where else []
    cluster = Cluster(
        name=name,
        type=ClusterDiscoveryType.LOGICAL_DNS if named else ClusterDiscoveryType.STATIC,
        connect_timeout=seconds(_CONNECT_TIMEOUT),
        load_assignment=ClusterLoadAssignment(
            cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=endpoints)]
        ),
        dns_lookup_family=ClusterDnsLookupFamily.ALL if named else ClusterDnsLookupFamily.AUTO,
        circuit_breakers=_limits(_MAX_RETRIES, Choice()),
        typed_extension_protocol_options=_protocol(http2=http2, keepalive=False),
    )
    return Resource.of(name, bytes(cluster))


def ads() -> ConfigSource:
    """Resources come over the one aggregated stream."""
    return ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def balance_of(route: ModelRoute) -> Balance:
    """How a model's endpoints are chosen; a stateful model's always by hash."""
    return Balance.RING_HASH if route.stateful and not route.traffic.balance.hashes else route.traffic.balance


def _balancing(choice: Choice) -> LoadBalancingPolicy:
    weighted = LocalityLbConfigLocalityWeightedLbConfig() if choice.weighted else None
    localities = LocalityLbConfig(locality_weighted_lb_config=weighted) if choice.weighted else None
    ramp = SlowStartConfig(slow_start_window=seconds(choice.slow_start)) if choice.slow_start else None
    policies: dict[Balance, betterproto2.Message] = {
        Balance.LEAST_REQUEST: LeastRequest(choice_count=2, slow_start_config=ramp, locality_lb_config=localities),
        Balance.ROUND_ROBIN: RoundRobin(slow_start_config=ramp, locality_lb_config=localities),
        Balance.RANDOM: Random(locality_lb_config=localities),
        Balance.RING_HASH: RingHash(minimum_ring_size=1024, locality_weighted_lb_config=weighted),
        Balance.MAGLEV: Maglev(locality_weighted_lb_config=weighted),
    }
    policy = TypedExtensionConfig(name=choice.balance.value, typed_config=packed(policies[choice.balance]))
    return LoadBalancingPolicy(policies=[LoadBalancingPolicyPolicy(typed_extension_config=policy)])


def _limits(retries: int, choice: Choice) -> CircuitBreakers:
    def limits(priority: RoutingPriority, calls: int) -> CircuitBreakersThresholds:
        return CircuitBreakersThresholds(
            priority=priority,
            max_connections=_MANY,
            max_pending_requests=_MANY,
            max_requests=calls or _MANY,
            max_retries=retries,
        )

    if not choice.priorities:
        return CircuitBreakers(thresholds=[limits(RoutingPriority.DEFAULT, choice.concurrency)])
    ordinary = ordinary_limit(choice.concurrency) if choice.concurrency else 0
    return CircuitBreakers(
        thresholds=[limits(RoutingPriority.DEFAULT, ordinary), limits(RoutingPriority.HIGH, choice.concurrency)]
    )


def _protocol(*, http2: bool, keepalive: bool) -> dict[str, Any]:
    """HTTP/2 for gRPC and HTTP/1.1 for REST; pings find a peer that is stopped or cut off while calls are in flight."""
    explicit = (
        ExplicitHttp(
            http2_protocol_options=Http2ProtocolOptions(
                connection_keepalive=KeepaliveSettings(
                    interval=seconds(_PROBE_INTERVAL), timeout=seconds(_PROBE_TIMEOUT)
                )
                if keepalive
                else None
            )
        )
        if http2
        else ExplicitHttp(http_protocol_options=Http1ProtocolOptions())
    )
    protocol = UpstreamProtocol(
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=seconds(300)), explicit_http_config=explicit
    )
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed(protocol)}


def _probe(ready_path: str) -> HealthCheck:
    check = HealthCheck(
        interval=seconds(_PROBE_INTERVAL),
        timeout=seconds(_PROBE_TIMEOUT),
        no_traffic_interval=seconds(_PROBE_INTERVAL),  # 60 s by default: a quiet model would fail late
        unhealthy_threshold=1,
        healthy_threshold=1,
    )
    if ready_path:
        check.http_health_check = HealthCheckHttpHealthCheck(path=ready_path)
    else:
        check.grpc_health_check = HealthCheckGrpcHealthCheck()
    return check


def _outliers() -> OutlierDetection:
    """Eject a host that answers with errors while its health check passes.

    Not split by origin: split, a hung host is ejected six times later. A passing health check does not end an
    ejection, or a host that fails every call would return after each probe.
    """
    return OutlierDetection(
        consecutive_5xx=5,
        consecutive_gateway_failure=3,
        enforcing_consecutive_gateway_failure=100,
        interval=seconds(0.5),
        base_ejection_time=seconds(2),
        max_ejection_time=seconds(10),
        max_ejection_percent=50,
        always_eject_one_host=True,
        successful_active_health_check_uneject_host=False,
        enforcing_success_rate=0,
    )
