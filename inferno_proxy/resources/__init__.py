"""A route plan, translated: RoutePlan in, encoded xDS resources out, in the dialects that Envoy and gRPC speak."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from types import MappingProxyType

from inferno_proxy.publishing.snapshot import Dialect, Resource, Resources, ResourceType, Snapshot
from inferno_proxy.resources.clusters import cluster_resources, service_clusters
from inferno_proxy.resources.endpoints import Assignment, client_endpoints, model_endpoints
from inferno_proxy.resources.listeners import listeners
from inferno_proxy.resources.proxyless import client_resources
from inferno_proxy.resources.routes import mesh_route_resource, route_resource
from inferno_proxy.resources.runtime import runtime_resource
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.resources.try_log import token_buckets
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.plan import ModelRoute, RoutePlan

__all__ = ["Builder", "ResourceSettings", "build"]


def build(
    plan: RoutePlan,
    settings: ResourceSettings,
    serial: int,
    revisions: Mapping[str, tuple[int, int]],
) -> Mapping[Dialect, Snapshot]:
    """Encode a plan for every kind of client.

    Pure and deterministic: equal input gives equal bytes. ``serial`` and ``revisions`` are copied into each snapshot.
    """
    return Builder()(plan, settings, serial, revisions)


@dataclass(frozen=True, slots=True)
class _Parts:
    """All that belongs to one model. ``treatment`` is the route without its endpoints; ``elsewhere`` are the
    clusters for Envoys of other machines. ``client`` are a gRPC client's listener, route configuration and cluster."""

    route: ModelRoute
    treatment: ModelRoute
    clusters: tuple[Resource, ...]
    elsewhere: tuple[Resource, ...]
    endpoints: tuple[Assignment, ...]
    client: tuple[Resource, Resource, Resource]
    client_endpoints: Assignment

    @property
    def learned(self) -> tuple[ModelRoute, bool, int]:
        """What runtime values are made of."""
        return self.treatment, self.route.hopeless, self.route.limit


@dataclass(frozen=True, slots=True)
class _Common:
    """What is one for all models, and what it was made of."""

    treatments: Sequence[ModelRoute]
    aliases: Mapping[str, Alias]
    learned: Sequence[object]
    routes: tuple[Resource, ...]
    runtime: Resource


class Builder:
    """As :func:`build`, and remembers the last result: what the next plan has in common with it is not made again.

    Models are told apart by identity (see :mod:`inferno_proxy.routing.ledger`). A type of resource of which nothing
    changed is the same mapping as before, so that a stream sees at a glance that there is nothing to send.
    """

    def __init__(self) -> None:
        self._settings: ResourceSettings | None = None
        self._listeners: tuple[Resource, ...] = ()
        self._parts: Mapping[str, _Parts] = {}
        self._common: _Common | None = None
        self._elsewhere: tuple[Resource, ...] = ()
        self._made: dict[str, dict[ResourceType, Mapping[str, Resource]]] = {}

    def __call__(
        self, plan: RoutePlan, settings: ResourceSettings, serial: int, revisions: Mapping[str, tuple[int, int]]
    ) -> Mapping[Dialect, Snapshot]:
        """Encode a plan."""
        if settings != self._settings:
            self._settings, self._parts, self._common = settings, {}, None
            self._listeners = tuple(listeners(settings))
            self._elsewhere = tuple(listeners(settings.for_elsewhere()))
        self._parts = {name: _parts(route, self._parts.get(name), settings) for name, route in plan.models.items()}
        parts = self._parts.values()
        self._common = common = _common(plan, parts, self._common, settings)
        clients, others = [each.client for each in parts], settings.for_elsewhere()
        envoy = self._kept(
            Dialect.ENVOY,
            {
                ResourceType.CLUSTER: chain(service_clusters(settings), *(each.clusters for each in parts)),
                ResourceType.SECRET: (),
                ResourceType.ENDPOINT: (made.resource for each in parts for made in each.endpoints),
                ResourceType.LISTENER: self._listeners,
                ResourceType.ROUTE: common.routes,
                ResourceType.RUNTIME: [common.runtime],
                ResourceType.BUCKET: _token_buckets(),
            },
        )
        grpc = self._kept(
            Dialect.GRPC,
            {
                ResourceType.CLUSTER: (cluster for _, _, cluster in clients),
                ResourceType.SECRET: (),
                ResourceType.ENDPOINT: (each.client_endpoints.resource for each in parts),
                ResourceType.LISTENER: (listener for listener, _, _ in clients),
                ResourceType.ROUTE: (route for _, route, _ in clients),
                # gRPC libraries have no such values.
                ResourceType.RUNTIME: (),
                ResourceType.BUCKET: (),
            },
        )
        elsewhere = self._kept(
            "elsewhere",
            {
                ResourceType.CLUSTER: chain(service_clusters(others), *(each.elsewhere for each in parts)),
                ResourceType.LISTENER: self._elsewhere,
            },
        )
        copied = MappingProxyType(dict(revisions))
        return MappingProxyType(
            {Dialect.ENVOY: Snapshot(serial, envoy, copied, elsewhere), Dialect.GRPC: Snapshot(serial, grpc, copied)}
        )

    def _kept(self, whose: str, made: Mapping[ResourceType, Iterable[Resource]]) -> Resources:
        """The resources by type and name; a type of which none changed is the mapping made before."""
        before = self._made.get(whose, {})
        self._made[whose] = {kind: _by_name(resources, before.get(kind)) for kind, resources in made.items()}
        return MappingProxyType(dict(self._made[whose]))


def _by_name(resources: Iterable[Resource], before: Mapping[str, Resource] | None) -> Mapping[str, Resource]:
    named = {resource.name: resource for resource in resources}
    # Resources that did not change are the same objects, which is the first thing that a comparison looks at.
    return before if before is not None and before == named else MappingProxyType(named)


def _parts(route: ModelRoute, before: _Parts | None, settings: ResourceSettings) -> _Parts:
    if before is not None and before.route is route:
        return before
    known = {made.resource.name: made for made in before.endpoints} if before else {}
    endpoints = tuple(model_endpoints(route, known))
    own = client_endpoints(route, endpoints[0], before.client_endpoints if before else None)
    # Whether clients without Envoy speak TLS follows from the endpoints; what they are told is looked up by value.
    client, treatment = client_resources(route, settings), route.without_endpoints()
    if before is not None and before.treatment == treatment:
        return replace(before, route=route, endpoints=endpoints, client=client, client_endpoints=own)
    clusters = tuple(cluster_resources(route, settings))
    # Without an identity there is none of this machine's files in them.
    elsewhere = tuple(cluster_resources(route, settings.for_elsewhere())) if settings.identity else clusters
    return _Parts(route, treatment, clusters, elsewhere, endpoints, client, own)


def _routes(plan: RoutePlan, settings: ResourceSettings) -> Iterator[Resource]:
    yield route_resource(plan, settings)
    if settings.mesh is not None:
        yield mesh_route_resource(settings)


def _common(plan: RoutePlan, parts: Collection[_Parts], before: _Common | None, settings: ResourceSettings) -> _Common:
    treatments, learned = [each.treatment for each in parts], [each.learned for each in parts]
    same = before is not None and before.treatments == treatments and before.aliases == plan.aliases
    routes = before.routes if before is not None and same else tuple(_routes(plan, settings))
    if before is not None and before.learned == learned:
        runtime = before.runtime
    else:
        runtime = runtime_resource(plan.models.values(), bool(settings.priority_header))
    return _Common(treatments, plan.aliases, learned, routes, runtime)


@lru_cache(maxsize=1)
def _token_buckets() -> tuple[Resource, ...]:
    return tuple(token_buckets())
