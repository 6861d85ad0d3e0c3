"""What calls came to, counted by Envoy: an access log that writes nothing and adds to counters.

Names of routes are the operator's and the fleet's, never a caller's, and the statuses are few: that bounds how many
counters there are. :data:`_MOST` bounds them once more.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLog,
    AccessLogFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    GrpcStatusFilter,
    GrpcStatusFilterStatus,
    OrFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import RuntimeUInt32
from envoy_data_plane.envoy.extensions.access_loggers.stats.v3 import Config, ConfigCounter, ConfigStat, ConfigTag
from envoy_data_plane.envoy.type.v3 import Scope

from inferno_proxy.resources.packing import packed

PREFIX = "inferno"
# By route and status; and those that were told to come again or to be smaller, by the cause.
CALLS = "calls"
REFUSED = "refused"
# Ten statuses of 10,000 models.
_MOST = 100_000


def call_stats() -> list[AccessLog]:
    """Both counters. They outlive a change of the listener, because Envoy has one of a name while an old listener
    drains; to share their scope by name makes Envoy 1.40 crash when it ends (``--mode validate`` does)."""
    route = ConfigTag(name="route", value_format="%ROUTE_NAME%")
    grpc = ConfigTag(name="grpc", value_format="%GRPC_STATUS(SNAKE_STRING)%")
    http = ConfigTag(name="http", value_format="%RESPONSE_CODE%")
    details = ConfigTag(name="details", value_format="%RESPONSE_CODE_DETAILS%")
    exhausted = GrpcStatusFilter(statuses=[GrpcStatusFilterStatus.RESOURCE_EXHAUSTED])
    # Envoy's translation of 413 and 429 into gRPC's statuses is another.
    refused = OrFilter(filters=[AccessLogFilter(grpc_status_filter=exhausted), _code(413), _code(429)])
    return [
        _counter(CALLS, [route, grpc, http]),
        _counter(REFUSED, [route, details], AccessLogFilter(or_filter=refused)),
    ]


def _counter(name: str, tags: list[ConfigTag], which: AccessLogFilter | None = None) -> AccessLog:
    config = Config(
        stats_scope=Scope(prefix=PREFIX, max_counters=_MOST),
        counters=[ConfigCounter(stat=ConfigStat(name=name, tags=tags), value_fixed=1)],
    )
    return AccessLog(name="envoy.access_loggers.stats", filter=which, typed_config=packed(config))


def _code(status: int) -> AccessLogFilter:
    value = RuntimeUInt32(default_value=status, runtime_key="inferno.unused")  # Envoy demands a key
    return AccessLogFilter(
        status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=ComparisonFilterOp.EQ, value=value))
    )
