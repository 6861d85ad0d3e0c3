"""Runtime values (RTDS) for Envoy: limits that loop 2 learns and that change without a new cluster, which would cost
every connection of the old one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf import struct_pb2

from inferno_proxy.envoy.bootstrap import RUNTIME_LAYER
from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources.names import grpc_cluster, http_cluster
from inferno_proxy.resources.packing import delimited
from inferno_proxy.resources.priorities import ordinary_limit
from inferno_proxy.routing.plan import ModelRoute

# Field numbers of envoy.service.runtime.v3.Runtime.
_NAME = 1
_LAYER = 2
_RETRIES_OF_LIMIT = 0.05


def runtime_resource(routes: Iterable[ModelRoute], priorities: bool) -> Resource:
    """The one layer of runtime values; empty while nothing is learned, and then every cluster's own limits hold.
    ``priorities``: calls of high priority are counted apart."""
    layer = struct_pb2.Struct()
    layer.update({key: value for route in routes for key, value in _of_model(route, priorities)})
    body = layer.SerializeToString(deterministic=True)
    return Resource.of(RUNTIME_LAYER, delimited(_NAME, RUNTIME_LAYER.encode()) + delimited(_LAYER, body))


def _of_model(route: ModelRoute, priorities: bool) -> Iterator[tuple[str, int]]:
    """Envoy reads these keys each time it asks a limit (source: ResourceManagerImpl)."""
    limit = min(route.limit, route.traffic.max_concurrency or route.limit)
    for cluster in (grpc_cluster(route.name), http_cluster(route.name)):
        for priority in ("default", "high") if priorities else ("default",):
            key = f"circuit_breakers.{cluster}.{priority}"
            if route.hopeless:
                yield f"{key}.max_retries", 0
            elif limit:
                # Second tries, a hedged call's among them, have hardly room in an overload.
                yield f"{key}.max_retries", max(1, int(limit * _RETRIES_OF_LIMIT))
            if limit:
                own = ordinary_limit(limit) if priorities and priority == "default" else limit
                yield f"{key}.max_requests", own
