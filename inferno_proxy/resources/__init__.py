"""A route plan, translated: RoutePlan in, encoded xDS resources out, in the dialects that Envoy and gRPC speak."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from types import MappingProxyType

from inferno_proxy.publishing.snapshot import Dialect, Resource, Resources, ResourceType, Snapshot
from inferno_proxy.resources.clusters import cluster_resources, service_clusters
from inferno_proxy.resources.endpoints import client_endpoints, endpoint_resources
from inferno_proxy.resources.listeners import listener_resource
from inferno_proxy.resources.names import grpc_cluster
from inferno_proxy.resources.proxyless import client_resources
from inferno_proxy.resources.routes import route_resource
from inferno_proxy.resources.runtime import runtime_resource
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.resources.try_log import token_buckets
from inferno_proxy.routing.plan import RoutePlan

__all__ = ["ResourceSettings", "build"]


def build(
    plan: RoutePlan,
    settings: ResourceSettings,
    serial: int,
    revisions: Mapping[str, tuple[int, int]],
) -> Mapping[Dialect, Snapshot]:
    """Encode a plan for every kind of client.

    Pure and deterministic: equal input gives equal bytes. ``serial`` and ``revisions`` are copied into each snapshot.
    """
    endpoints = _by_name(chain.from_iterable(map(endpoint_resources, plan.models.values())))
    envoy = {
        ResourceType.CLUSTER: _by_name(
            chain(
                service_clusters(settings),
                chain.from_iterable(cluster_resources(route, settings) for route in plan.models.values()),
            )
        ),
        ResourceType.ENDPOINT: endpoints,
        ResourceType.LISTENER: _by_name([listener_resource(settings)]),
        ResourceType.ROUTE: _by_name([route_resource(plan, settings)]),
        ResourceType.RUNTIME: _by_name([runtime_resource(plan.models.values(), bool(settings.priority_header))]),
        ResourceType.BUCKET: _by_name(token_buckets()),
    }
    clients = [client_resources(route, settings) for route in plan.models.values()]
    grpc = {
        ResourceType.CLUSTER: _by_name(cluster for _, _, cluster in clients),
        ResourceType.ENDPOINT: _by_name(
            client_endpoints(route, endpoints[grpc_cluster(name)]) for name, route in plan.models.items()
        ),
        ResourceType.LISTENER: _by_name(listener for listener, _, _ in clients),
        ResourceType.ROUTE: _by_name(route for _, route, _ in clients),
        # gRPC libraries have no such values.
        ResourceType.RUNTIME: _by_name(()),
        ResourceType.BUCKET: _by_name(()),
    }
    return MappingProxyType(
        {
            Dialect.ENVOY: _snapshot(envoy, serial, revisions),
            Dialect.GRPC: _snapshot(grpc, serial, revisions),
        }
    )


def _snapshot(resources: Resources, serial: int, revisions: Mapping[str, tuple[int, int]]) -> Snapshot:
    return Snapshot(serial, MappingProxyType(dict(resources)), MappingProxyType(dict(revisions)))


def _by_name(resources: Iterable[Resource]) -> Mapping[str, Resource]:
    return MappingProxyType({resource.name: resource for resource in resources})
