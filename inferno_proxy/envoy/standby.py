"""The last good configuration as one file, for an Envoy that must start while the control plane is away.

Everything stands in the file itself (endpoints inside clusters, routes inside the listener): Envoy needs to ask nobody.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpConnectionManager

from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType, Snapshot
from inferno_proxy.resources.listeners import ROUTER
from inferno_proxy.resources.packing import delimited, packed
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_LOG = logs.get("control-plane")

# Field numbers of what is joined without decoding: endpoints may be many, and decoding them is slow.
_STATIC_RESOURCES = 2  # Bootstrap.static_resources
_LISTENERS = 1  # StaticResources.listeners
_CLUSTERS = 2  # StaticResources.clusters
_LOAD_ASSIGNMENT = 33  # Cluster.load_assignment
# Seconds of rest after the file is written, for each node. An Envoy that starts from it asks the nodes for their health
# before it calls them.
_EACH_NODE = 0.0002


def standby(snapshot: Snapshot) -> bytes:
    """An encoded ``envoy.config.bootstrap.v3.Bootstrap`` that serves what an Envoy-dialect snapshot describes."""
    return bootstrap(_encoded_listeners(snapshot), _clusters(snapshot))


def bootstrap(encoded_listeners: Iterable[bytes], encoded_clusters: Iterable[bytes]) -> bytes:
    """An encoded ``Bootstrap`` with these static resources."""
    parts = [delimited(_LISTENERS, body) for body in encoded_listeners]
    parts += [delimited(_CLUSTERS, body) for body in encoded_clusters]
    return delimited(_STATIC_RESOURCES, b"".join(parts))


async def keep_standby(snapshots: Latest[Mapping[Dialect, Snapshot]], path: Path, clock: Clock) -> None:
    """Keep the file as the newest snapshot has it, until cancelled; in a fleet of 10,000 nodes it may be 2 s old."""
    async for newest in snapshots.watch():
        if Dialect.ENVOY in newest:
            await asyncio.to_thread(_keep, path, newest[Dialect.ENVOY])
            await clock.sleep(len(newest[Dialect.ENVOY].revisions) * _EACH_NODE)


def _keep(path: Path, snapshot: Snapshot) -> None:
    try:
        write_standby(path, snapshot)
    except OSError as error:
        _LOG.error("standby configuration not kept", path=str(path), reason=error.strerror)


def write_standby(path: Path, snapshot: Snapshot) -> None:
    """Replace the standby file at once: a reader finds the old one or the new one, never half of one.

    Raises:
        OSError: The file cannot be written.
    """
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(standby(snapshot))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _clusters(snapshot: Snapshot) -> Iterator[bytes]:
    endpoints = snapshot.resources[ResourceType.ENDPOINT]
    for resource in snapshot.resources[ResourceType.CLUSTER].values():
        body, service = _static(resource)
        yield body + delimited(_LOAD_ASSIGNMENT, endpoints[service].body) if service else body


@lru_cache(maxsize=8192)
def _static(resource: Resource) -> tuple[bytes, str]:
    """A cluster without its endpoints, and under which name they are found; empty for one that holds its own. Parsing
    takes 3 ms, and of all that changes in a fleet it is seldom a cluster."""
    cluster = Cluster.parse(resource.body)
    if cluster.eds_cluster_config is None:
        return resource.body, ""
    service = cluster.eds_cluster_config.service_name
    cluster.type, cluster.eds_cluster_config = ClusterDiscoveryType.STATIC, None
    return bytes(cluster), service


def _without_log(manager: HttpConnectionManager) -> None:
    """Take the log of tries out: the control plane that would read it is away."""
    for each in manager.http_filters:
        if each.name == ROUTER and each.typed_config is not None:
            router = Router.parse(each.typed_config.value)
            router.upstream_log = []
            each.typed_config = packed(router)


def _encoded_listeners(snapshot: Snapshot) -> Sequence[bytes]:
    there = (snapshot.resources[ResourceType.LISTENER], snapshot.resources[ResourceType.ROUTE])
    return _inlined(*(tuple(resources.values()) for resources in there))


@lru_cache(maxsize=2)
def _inlined(named: tuple[Resource, ...], routes: tuple[Resource, ...]) -> Sequence[bytes]:
    return [bytes(each) for each in _with_routes(named, {route.name: route for route in routes})]


def listeners(snapshot: Snapshot) -> Iterator[Listener]:
    """The snapshot's listeners with their routes inside, and without what the control plane must be there for."""
    return _with_routes(snapshot.resources[ResourceType.LISTENER].values(), snapshot.resources[ResourceType.ROUTE])


def _with_routes(named: Iterable[Resource], routes: Mapping[str, Resource]) -> Iterator[Listener]:
    for resource in named:
        listener = Listener.parse(resource.body)
        for chain in listener.filter_chains:
            for each in chain.filters:
                manager = each.typed_config.unpack() if each.typed_config else None
                if isinstance(manager, HttpConnectionManager) and manager.rds is not None:
                    body = routes[manager.rds.route_config_name].body
                    manager.rds, manager.route_config = None, RouteConfiguration.parse(body)
                    _without_log(manager)
                    each.typed_config = packed(manager)
        yield listener
