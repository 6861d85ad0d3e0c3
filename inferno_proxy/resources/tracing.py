"""Traces of calls for an OpenTelemetry collector: a span of the call, and one below it for each try on a node.

The context comes and goes in W3C's headers. A caller's own decision to sample holds; of calls that bring none, a share
is sampled. Envoy 1.40 calls this tracer work in progress, so it is there only when somebody asks for it.
"""

from __future__ import annotations

import betterproto2
from envoy_data_plane.envoy.config.core.v3 import GrpcService, GrpcServiceEnvoyGrpc, TypedExtensionConfig
from envoy_data_plane.envoy.config.trace.v3 import OpenTelemetryConfig, TracingHttp
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManagerTracing,
    RequestIdExtension,
)
from envoy_data_plane.envoy.extensions.request_id.uuid.v3 import UuidRequestIdConfig
from envoy_data_plane.envoy.extensions.tracers.opentelemetry.resource_detectors.v3 import (
    StaticConfigResourceDetectorConfig,
)
from envoy_data_plane.envoy.extensions.tracers.opentelemetry.samplers.v3 import (
    ParentBasedSamplerConfig,
    TraceIdRatioBasedSamplerConfig,
)
from envoy_data_plane.envoy.type.tracing.v3 import CustomTag
from envoy_data_plane.envoy.type.v3 import FractionalPercent, FractionalPercentDenominatorType

from inferno_proxy.call_records import Traces
from inferno_proxy.resources.names import COLLECTOR
from inferno_proxy.resources.packing import packed, seconds

SERVICE = "inferno-proxy"
# Envoy's own tag of the URL would carry query strings; the custom one takes its place.
_TAGS = {
    "http.url": "%PATH(NQ:PATH):256%",
    "inferno.route": "%ROUTE_NAME%",
    "inferno.node": "%UPSTREAM_HOST_NAME_WITHOUT_PORT%",
    "rpc.grpc.status": "%GRPC_STATUS(SNAKE_STRING)%",
}


def tracing(traces: Traces | None) -> HttpConnectionManagerTracing | None:
    """How the calls of a listener are traced; None: not at all."""
    if traces is None:
        return None
    share = FractionalPercent(
        numerator=round(traces.percent * 10_000), denominator=FractionalPercentDenominatorType.MILLION
    )
    root = _extension("envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", _ratio(share))
    sampler = _extension(
        "envoy.tracers.opentelemetry.samplers.parent_based", ParentBasedSamplerConfig(wrapped_sampler=root)
    )
    resource = StaticConfigResourceDetectorConfig(attributes={"service.namespace": "inferno"})
    config = OpenTelemetryConfig(
        grpc_service=GrpcService(envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=COLLECTOR), timeout=seconds(1)),
        service_name=SERVICE,
        resource_detectors=[_extension("envoy.tracers.opentelemetry.resource_detectors.static_config", resource)],
        sampler=sampler,
    )
    return HttpConnectionManagerTracing(
        provider=TracingHttp(name="envoy.tracers.opentelemetry", typed_config=packed(config)),
        spawn_upstream_span=True,
        custom_tags=[CustomTag(tag=tag, value=text) for tag, text in _TAGS.items()],
    )


def request_ids(traces: Traces | None) -> RequestIdExtension | None:
    """With traces, the sampler alone decides what is sampled; a request's id, which callers choose, does not."""
    if traces is None:
        return None
    config = UuidRequestIdConfig(pack_trace_reason=False, use_request_id_for_trace_sampling=False)
    return RequestIdExtension(typed_config=packed(config))


def _ratio(share: FractionalPercent) -> TraceIdRatioBasedSamplerConfig:
    return TraceIdRatioBasedSamplerConfig(sampling_percentage=share)


def _extension(name: str, config: betterproto2.Message) -> TypedExtensionConfig:
    return TypedExtensionConfig(name=name, typed_config=packed(config))
