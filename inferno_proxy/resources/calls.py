"""What both dialects say of a model's calls on a route: how long they may take, and what keeps them together."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import RuntimeFractionalPercent
from envoy_data_plane.envoy.config.route.v3 import (
    RouteActionHashPolicy,
    RouteActionHashPolicyConnectionProperties,
    RouteActionHashPolicyHeader,
    RouteActionMaxStreamDuration,
    RouteActionRequestMirrorPolicy,
)
from envoy_data_plane.envoy.type.v3 import FractionalPercent, FractionalPercentDenominatorType

from inferno_proxy.resources.names import SEQUENCE_HEADER, copies_of
from inferno_proxy.resources.packing import seconds
from inferno_proxy.routing.plan import ModelRoute

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


def mirror_policies(route: ModelRoute, cluster: str) -> list[RouteActionRequestMirrorPolicy]:
    """Where copies of calls for this cluster go."""
    if route.mirror is None:
        return []
    millionths = round(route.mirror.percent * 10_000)
    part = FractionalPercent(numerator=millionths, denominator=FractionalPercentDenominatorType.MILLION)
    return [
        RouteActionRequestMirrorPolicy(
            cluster=copies_of(cluster),
            runtime_fraction=RuntimeFractionalPercent(default_value=part),
            disable_shadow_host_suffix_append=True,
        )
    ]


def _header(name: str) -> RouteActionHashPolicy:
    return RouteActionHashPolicy(header=RouteActionHashPolicyHeader(header_name=name))
