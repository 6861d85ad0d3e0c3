"""Endpoint resources (EDS): where a model is served now. Both dialects share the same bytes, but for learned weights.

A fleet of thousands changes one endpoint at a time, and encoding through betterproto costs about 0.1 ms an endpoint. So
each endpoint is encoded once per value, and a resource is those bytes joined under their length prefixes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from envoy_data_plane.envoy.config.core.v3 import HealthStatus, Locality, Metadata
from envoy_data_plane.envoy.config.endpoint.v3 import Endpoint as EnvoyEndpoint
from envoy_data_plane.envoy.config.endpoint.v3 import LbEndpoint, LocalityLbEndpoints
from envoy_data_plane.google.protobuf import Struct, Value

from inferno_proxy.feedback.advice import FULL_WEIGHT
from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources.names import copies_of, grpc_cluster, http_cluster
from inferno_proxy.resources.packing import delimited, envoy_address
from inferno_proxy.resources.peers import MATCH, TAKES_TLS, one_socket
from inferno_proxy.routing.grouping import locality_weight
from inferno_proxy.routing.plan import Endpoint, ModelRoute

# Field numbers of the two repeated fields joined by hand.
_CLUSTER_NAME = 1  # ClusterLoadAssignment.cluster_name
_ENDPOINTS = 2  # ClusterLoadAssignment.endpoints and LocalityLbEndpoints.lb_endpoints


def endpoint_resources(route: ModelRoute) -> Iterator[Resource]:
    """The gRPC and the REST endpoints of one model."""
    grpc, http = grpc_cluster(route.name), http_cluster(route.name)
    named = [(grpc, route.grpc), (http, route.http)]
    if route.mirror is not None:
        named += [(copies_of(grpc), route.grpc_copies), (copies_of(http), route.http_copies)]
    for name, endpoints in named:
        yield Resource.of(name, _assignment(name, endpoints, keyed=route.keyed))


def client_endpoints(route: ModelRoute, shared: Resource) -> Resource:
    """The gRPC endpoints of one model for clients without Envoy; ``shared`` is what Envoy gets.

    Such clients weigh localities and not endpoints, so an endpoint of another weight than the full one gets a locality
    of its own. Envoy is not told so: it would take the endpoint in another locality for a new one, without its
    connections. Nor can such clients speak TLS to some endpoints of a cluster and not to others (see
    :func:`.peers.one_socket`).
    """
    apart = not route.keyed and any(e.weight != FULL_WEIGHT for e in route.grpc)
    given = one_socket(route.grpc)
    if not apart and given == route.grpc:
        return shared
    return Resource.of(shared.name, _assignment(shared.name, given, keyed=route.keyed, apart=apart))


def _assignment(name: str, endpoints: Iterable[Endpoint], *, keyed: bool, apart: bool = False) -> bytes:
    """A ClusterLoadAssignment with one locality group per (region, zone, group of a split).

    gRPC clients refuse endpoints without a locality and ignore a locality without weight; priorities have no gaps.
    ``apart``: endpoints of another weight than the full one have groups of their own.
    """

    def sub_zone(endpoint: Endpoint) -> str:
        alone = apart and endpoint.weight != FULL_WEIGHT
        return f"{endpoint.group}@{endpoint.node}" if alone else endpoint.group

    body = [delimited(_CLUSTER_NAME, name.encode())]
    by_place = sorted(endpoints, key=lambda e: (e.priority, e.region, e.zone, sub_zone(e), e.address))
    working: Counter[tuple[int, str]] = Counter()
    for each in by_place:
        working[each.priority, each.group] += 0 if each.draining else each.weight
    places = itertools.groupby(by_place, key=lambda e: (e.priority, e.region, e.zone, sub_zone(e)))
    for (priority, region, zone, place_in_zone), found in places:
        members = list(found)
        here = sum(e.weight for e in members if not e.draining)
        share, group = members[0].share, members[0].group
        weight = locality_weight(share, here, working[priority, group]) if share else sum(e.weight for e in members)
        place = _locality(region, zone, place_in_zone, weight, priority)
        inner = b"".join(itertools.chain([place], (delimited(_ENDPOINTS, encoded(e, keyed)) for e in members)))
        body.append(delimited(_ENDPOINTS, inner))
    return b"".join(body)


@lru_cache(maxsize=65536)
def encoded(endpoint: Endpoint, keyed: bool) -> bytes:
    """One endpoint's bytes.

    ``keyed``: take the node's id for its place on the hash ring, so that a key finds the same node over gRPC and
    REST, and again after the node restarted on other ports.
    """
    metadata: dict[str, Struct] = {}
    if keyed:
        metadata["envoy.lb"] = Struct(fields={"hash_key": Value(string_value=endpoint.node)})
    if endpoint.tls:
        metadata[MATCH] = TAKES_TLS
    return bytes(
        LbEndpoint(
            # The name is for logs and traces.
            endpoint=EnvoyEndpoint(address=envoy_address(endpoint.address), hostname=endpoint.node),
            health_status=HealthStatus.DRAINING if endpoint.draining else HealthStatus.UNKNOWN,
            load_balancing_weight=endpoint.weight,
            metadata=Metadata(filter_metadata=metadata) if metadata else None,
        )
    )


@lru_cache(maxsize=4096)
def _locality(region: str, zone: str, sub_zone: str, weight: int, priority: int) -> bytes:
    place = Locality(region=region, zone=zone, sub_zone=sub_zone)
    return bytes(LocalityLbEndpoints(locality=place, load_balancing_weight=weight, priority=priority))
