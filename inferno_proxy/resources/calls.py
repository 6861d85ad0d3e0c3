"""What both dialects say of a model's calls on a route: how long they may take, and what keeps them together."""

from __future__ import annotations

from envoy_data_plane.envoy.config.route.v3 import (
    RouteActionHashPolicy,
    RouteActionHashPolicyConnectionProperties,
    RouteActionHashPolicyHeader,
    RouteActionMaxStreamDuration,
)

from inferno_proxy.resources.names import SEQUENCE_HEADER
from inferno_proxy.resources.packing import seconds
from inferno_proxy.routing import ModelRoute

GRPC_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def call_deadline(timeout: float) -> RouteActionMaxStreamDuration:
    """Honour the client's grpc-timeout, so that work for a client that gave up stops on the node too; ``timeout``
    seconds (0: none) bound it, and hold for a client that brings none."""
    if not timeout:
        return RouteActionMaxStreamDuration(grpc_timeout_header_max=seconds(0))
    return RouteActionMaxStreamDuration(max_stream_duration=seconds(timeout), grpc_timeout_header_max=seconds(timeout))


def hash_policies(route: ModelRoute) -> list[RouteActionHashPolicy]:
    """What decides the node of a call whose model balances by hash; a sequence's id comes before all else."""
    if route.stateful:
        return [_header(SEQUENCE_HEADER)]
    if not route.keyed:
        return []
    if route.traffic.hash_on:
        return [_header(route.traffic.hash_on)]
    source = RouteActionHashPolicyConnectionProperties(source_ip=True)
    return [RouteActionHashPolicy(connection_properties=source)]


def _header(name: str) -> RouteActionHashPolicy:
    return RouteActionHashPolicy(header=RouteActionHashPolicyHeader(header_name=name))
