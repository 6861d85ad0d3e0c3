"""Whether a snapshot agrees with itself: every cluster has its endpoints, every route its clusters, every listener its
routes. A snapshot that does not would make clients wait or answer 503, and so is never published."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.message import DecodeError

from inferno_proxy.publishing.protobuf_subset import Description, messages
from inferno_proxy.publishing.snapshot import Resource, Resources, ResourceType, Snapshot

Reference = tuple[ResourceType, str]

_EDS = 3
_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_FIELDS: Description = {
    # envoy/config/cluster/v3/cluster.proto
    "Cluster": {"type": (2, "int"), "eds_cluster_config": (3, "EdsClusterConfig")},
    "EdsClusterConfig": {"service_name": (2, "string")},
    # envoy/config/route/v3/route.proto, route_components.proto
    "RouteConfiguration": {"virtual_hosts": (2, "VirtualHost*")},
    "VirtualHost": {"routes": (3, "Route*")},
    "Route": {"route": (2, "RouteAction")},
    "RouteAction": {
        "cluster": (1, "string"),
        "weighted_clusters": (3, "WeightedCluster"),
        "request_mirror_policies": (30, "ClusterName*"),
    },
    "WeightedCluster": {"clusters": (1, "ClusterName*")},
    "ClusterName": {"name": (1, "string")},
    # envoy/config/listener/v3/listener.proto and the HTTP connection manager
    "Listener": {
        "filter_chains": (3, "FilterChain*"),
        "api_listener": (19, "ApiListener"),
        "default_filter_chain": (25, "FilterChain"),
    },
    "FilterChain": {"filters": (3, "Filter*")},
    "Filter": {"typed_config": (4, "Any")},
    "ApiListener": {"api_listener": (1, "Any")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "HttpConnectionManager": {"rds": (3, "Rds"), "route_config": (4, "RouteConfiguration")},
    "Rds": {"route_config_name": (2, "string")},
}


@functools.cache
def _messages() -> Callable[[str], Any]:
    return messages("inferno_references", _FIELDS)


class Inspector:
    """Inspects one snapshot of a dialect after the other and looks again only at what may have changed."""

    def __init__(self) -> None:
        self._before: Resources = MappingProxyType({})
        self._known: dict[ResourceType, dict[tuple[str, str], frozenset[Reference]]] = {}
        self._found: dict[ResourceType, list[str]] = {}

    def inspect(self, snapshot: Snapshot) -> list[str]:
        """One sentence for each contradiction; none when the snapshot is sound."""
        before, self._before = self._before, snapshot.resources
        # A type that is the same mapping as before still says the same, and finds the same names if none came or went.
        same_names = before.keys() == self._before.keys() and all(
            each is before[kind] or each.keys() == before[kind].keys() for kind, each in self._before.items()
        )
        for kind, resources in self._before.items():
            if not same_names or resources is not before[kind]:
                self._found[kind] = self._look(kind, resources, snapshot.resources)
        return [sentence for kind in self._before for sentence in self._found[kind]]

    def _look(self, kind: ResourceType, resources: Mapping[str, Resource], there: Resources) -> list[str]:
        found: list[str] = []
        before, known = self._known.get(kind, {}), dict[tuple[str, str], frozenset[Reference]]()
        for name, resource in resources.items():
            if name != resource.name:
                found.append(f"{kind.short} {resource.name!r} is filed under {name!r}.")
            key = (name, resource.version)
            try:
                references = before.get(key)
                known[key] = references = _references(kind, resource) if references is None else references
            except DecodeError as error:
                found.append(f"{kind.short} {name!r} cannot be decoded: {error}.")
                continue
            if not references:
                continue
            found += (
                f"{kind.short} {name!r} needs {other.short} {target!r}, which is missing."
                for other, target in sorted(references)
                if target not in there.get(other, {})
            )
            found += (
                f"{kind.short} {name!r} takes its endpoints under the name {target!r} instead of its own."
                for _, target in sorted(references)
                if kind is ResourceType.CLUSTER and target != name
            )
        self._known[kind] = known
        return found


def _references(kind: ResourceType, resource: Resource) -> frozenset[Reference]:
    """What a resource refers to. Endpoints refer to nothing and are not read."""
    readers: Mapping[ResourceType, Callable[[Resource], Iterator[Reference]]] = {
        ResourceType.CLUSTER: _of_cluster,
        ResourceType.LISTENER: _of_listener,
        ResourceType.ROUTE: lambda r: _of_routes(_messages()("RouteConfiguration").FromString(r.body)),
    }
    read = readers.get(kind)
    return frozenset(read(resource)) if read else frozenset()


def _of_cluster(resource: Resource) -> Iterator[Reference]:
    cluster = _messages()("Cluster").FromString(resource.body)
    if cluster.type == _EDS:
        yield ResourceType.ENDPOINT, cluster.eds_cluster_config.service_name or resource.name


def _of_routes(configuration: Any) -> Iterator[Reference]:
    for host in configuration.virtual_hosts:
        for route in host.routes:
            action = route.route
            named = [action.cluster, *(c.name for c in action.weighted_clusters.clusters)]
            for name in (*named, *(mirror.name for mirror in action.request_mirror_policies)):
                if name:
                    yield ResourceType.CLUSTER, name


def _of_listener(resource: Resource) -> Iterator[Reference]:
    listener = _messages()("Listener").FromString(resource.body)
    chains = (*listener.filter_chains, listener.default_filter_chain)
    configs = [filter_.typed_config for chain in chains for filter_ in chain.filters]
    for packed in (*configs, listener.api_listener.api_listener):
        if packed.type_url == _MANAGER:
            manager = _messages()("HttpConnectionManager").FromString(packed.value)
            if manager.rds.route_config_name:
                yield ResourceType.ROUTE, manager.rds.route_config_name
            yield from _of_routes(manager.route_config)
