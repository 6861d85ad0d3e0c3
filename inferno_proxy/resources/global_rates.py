"""Rate limits that every proxy of a mesh counts together, in a service that speaks Envoy's rate limit protocol.

Each call of a limited model asks the service, which sees who calls (the descriptor's entries: ``model``, then
``remote_address`` or the header's name) and the limit that the operator set, and answers yes or no.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import (
    ApiVersion,
    GrpcService,
    GrpcServiceEnvoyGrpc,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
)
from envoy_data_plane.envoy.config.ratelimit.v3 import RateLimitServiceConfig
from envoy_data_plane.envoy.config.route.v3 import (
    RateLimit,
    RateLimitAction,
    RateLimitActionGenericKey,
    RateLimitOverride,
    RateLimitOverrideRateLimitOverride,
)
from envoy_data_plane.envoy.extensions.filters.http.ratelimit.v3 import RateLimit as RateLimitFilter
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.type.v3 import RateLimitUnit

from inferno_proxy.resources.names import RATE_LIMITS
from inferno_proxy.resources.packing import packed, seconds
from inferno_proxy.resources.rate_limits import caller
from inferno_proxy.routing.traffic import Per, Rate, Scope

_DOMAIN = "inferno"
# Seconds that a call waits for the service at most; then it goes on, held by the proxy's own limit alone.
_PATIENCE = 0.05
_UNITS = {
    1: RateLimitUnit.SECOND,
    60: RateLimitUnit.MINUTE,
    3600: RateLimitUnit.HOUR,
    86_400: RateLimitUnit.DAY,
}


def global_rate_filter() -> HttpFilter:
    """The filter in the chain; it asks nobody on a route without a limit.

    The service does not say when to come again in a header that gRPC clients know, so a second is named.
    """
    service = GrpcService(envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=RATE_LIMITS))
    asking = RateLimitFilter(
        domain=_DOMAIN,
        timeout=seconds(_PATIENCE),
        failure_mode_deny=False,
        rate_limited_as_resource_exhausted=True,
        rate_limit_service=RateLimitServiceConfig(grpc_service=service, transport_api_version=ApiVersion.V3),
        response_headers_to_add=[
            HeaderValueOption(
                header=HeaderValue(key=key, value=value),
                append_action=HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
            )
            for key, value in (("retry-after", "1"), ("grpc-retry-pushback-ms", "1000"))
        ],
    )
    return HttpFilter(name="envoy.filters.http.ratelimit", typed_config=packed(asking))


def global_rate(model: str, rate: Rate | None) -> list[RateLimit]:
    """What the service is told of each call of this model: nothing when its limit is not global."""
    if rate is None or rate.scope is not Scope.GLOBAL:
        return []
    actions = [RateLimitAction(generic_key=RateLimitActionGenericKey(descriptor_key="model", descriptor_value=model))]
    if rate.per is not Per.MODEL:
        actions.append(caller(rate, optional=True))
    most = RateLimitOverrideRateLimitOverride(requests_per_unit=rate.calls, unit=_UNITS[round(rate.seconds)])
    return [RateLimit(actions=actions, limit=RateLimitOverride(rate_limit=most))]
