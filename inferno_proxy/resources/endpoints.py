"""Endpoint resources (EDS): where a model is served now. Both dialects share the same bytes, but for learned weights.

A fleet of thousands changes one endpoint at a time, and encoding through betterproto costs about 0.1 ms an endpoint. So
each endpoint is encoded once per value, and a resource is those bytes joined under their length prefixes. The pieces of
the last one are kept: to look for 10,000 endpoints among encoded ones would take 20 ms, to find the one that is another
object than before takes less than one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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


# What one endpoint adds to its resource: the place it is in, the weight it has there, the part of that which takes new
# calls, its group of a split with that group's share, and its bytes.
_Place = tuple[int, str, str, str]
_Piece = tuple[_Place, int, int, tuple[str, int], bytes]


@dataclass(frozen=True, slots=True)
class Assignment:
    """An endpoint resource and what it is made of, from which the next one is made."""

    resource: Resource
    endpoints: tuple[Endpoint, ...]
    form: tuple[bool, bool]
    pieces: tuple[_Piece, ...]


def model_endpoints(route: ModelRoute, before: Mapping[str, Assignment]) -> Iterator[Assignment]:
    """The gRPC and the REST endpoints of one model; ``before`` has what was made of it last, by name."""
    grpc, http = grpc_cluster(route.name), http_cluster(route.name)
    named = [(grpc, route.grpc), (http, route.http)]
    if route.mirror is not None:
        named += [(copies_of(grpc), route.grpc_copies), (copies_of(http), route.http_copies)]
    for name, endpoints in named:
        yield _assignment(name, endpoints, before.get(name), keyed=route.keyed)


def client_endpoints(route: ModelRoute, shared: Assignment, before: Assignment | None) -> Assignment:
    """The gRPC endpoints of one model for clients without Envoy; ``shared`` is what Envoy gets.

    Such clients weigh localities and not endpoints, so an endpoint of another weight than the full one gets a locality
    of its own. Envoy is not told so: it would take the endpoint in another locality for a new one, without its
    connections. Nor can such clients speak TLS to some endpoints of a cluster and not to others (see
    :func:`.peers.one_socket`).
    """
    apart = not route.keyed and any(e.weight != FULL_WEIGHT for e in route.grpc)
    given = one_socket(route.grpc)
    if not apart and given is route.grpc:
        return shared
    return _assignment(shared.resource.name, given, before, keyed=route.keyed, apart=apart)


def _assignment(
    name: str, endpoints: tuple[Endpoint, ...], before: Assignment | None, *, keyed: bool, apart: bool = False
) -> Assignment:
    """A ClusterLoadAssignment with one locality group per (region, zone, group of a split); its endpoints are sorted by
    address.

    gRPC clients refuse endpoints without a locality and ignore a locality without weight; priorities have no gaps.
    ``apart``: endpoints of another weight than the full one have groups of their own.
    """
    form = (keyed, apart)
    if before is None or before.form != form:
        pieces = tuple(_piece(each, form) for each in endpoints)
    elif before.endpoints is endpoints:
        return before
    else:
        pieces = _pieces(endpoints, before)
    return Assignment(Resource.of(name, _joined(name, pieces)), endpoints, form, pieces)


def _pieces(endpoints: tuple[Endpoint, ...], before: Assignment) -> tuple[_Piece, ...]:
    """The pieces of endpoints of which most are the same objects as before, at the beginning and at the end."""
    short = min(len(endpoints), len(before.endpoints))
    differ = (at for at, pair in enumerate(zip(endpoints, before.endpoints, strict=False)) if pair[0] is not pair[1])
    head = next(differ, short)
    backwards = zip(reversed(endpoints), reversed(before.endpoints), strict=False)
    tail = min(next((at for at, pair in enumerate(backwards) if pair[0] is not pair[1]), short), short - head)
    fresh = tuple(_piece(each, before.form) for each in endpoints[head : len(endpoints) - tail])
    return before.pieces[:head] + fresh + before.pieces[len(before.pieces) - tail :]


def _piece(endpoint: Endpoint, form: tuple[bool, bool]) -> _Piece:
    keyed, apart = form
    alone = apart and endpoint.weight != FULL_WEIGHT
    sub_zone = f"{endpoint.group}@{endpoint.node}" if alone else endpoint.group
    return (
        (endpoint.priority, endpoint.region, endpoint.zone, sub_zone),
        endpoint.weight,
        0 if endpoint.draining else endpoint.weight,
        (endpoint.group, endpoint.share),
        delimited(_ENDPOINTS, encoded(endpoint, keyed)),
    )


def _joined(name: str, pieces: Iterable[_Piece]) -> bytes:
    places: dict[_Place, list[_Piece]] = {}
    for piece in pieces:
        places.setdefault(piece[0], []).append(piece)
    working: Counter[tuple[int, str]] = Counter()
    takes = {}
    for place, found in places.items():
        takes[place] = sum(piece[2] for piece in found)
        working[place[0], found[0][3][0]] += takes[place]
    body = [delimited(_CLUSTER_NAME, name.encode())]
    for place, found in sorted(places.items()):
        priority, region, zone, sub_zone = place
        group, share = found[0][3]
        everywhere = working[priority, group]
        weight = locality_weight(share, takes[place], everywhere) if share else sum(piece[1] for piece in found)
        parts = [_locality(region, zone, sub_zone, weight, priority), *(piece[4] for piece in found)]
        body.append(delimited(_ENDPOINTS, b"".join(parts)))
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
