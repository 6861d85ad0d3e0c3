"""The logs of tries: what Envoy tells the control plane of single tries of calls, and how often it may.

There are three, each bounded by a token bucket that the whole Envoy shares. One is a fair sample of all tries: times
and proportions are learned from it. The second has the tries that failed, so that none of them is lost among many that
did not. The third has those of calls that ask for it with the header ``x-inferno-explain``. The buckets are resources
of their own (``TokenBucket``), because Envoy 1.40 takes them from a configuration source only, and uses the first
source it meets for every bucket.
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLog,
    AccessLogFilter,
    AndFilter,
    ExtensionFilter,
    GrpcStatusFilter,
    GrpcStatusFilterStatus,
    HeaderFilter,
    OrFilter,
    ResponseFlagFilter,
)
from envoy_data_plane.envoy.config.core.v3 import ApiVersion, GrpcService, GrpcServiceEnvoyGrpc
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.access_loggers.filters.process_ratelimit.v3 import (
    DynamicTokenBucket,
    ProcessRateLimitFilter,
)
from envoy_data_plane.envoy.extensions.access_loggers.grpc.v3 import CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig
from envoy_data_plane.envoy.type.v3 import TokenBucket

from inferno_proxy.envoy.bootstrap import XDS_CLUSTER
from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources.clusters import ads
from inferno_proxy.resources.names import (
    ASKED_TRIES,
    ATTEMPT_HEADER,
    EXPLAIN_HEADER,
    FAILED_TRIES,
    FINGERPRINT_HEADER,
    REQUEST_ID_HEADER,
    TRACE_HEADER,
    TRIES,
)
from inferno_proxy.resources.packing import packed, seconds

# Entries a second, also the most at once.
_ENTRIES = {TRIES: 200, FAILED_TRIES: 200, ASKED_TRIES: 40}
# Envoy refills a bucket no more often than this.
_FILL_EVERY = 0.05
# What failed: no connection, a connection or stream that broke (Envoy's short names for its flags), a server's own
# error. A REST answer counts by the gRPC status that corresponds to its HTTP status. A try that was cancelled or
# overtaken by another did not fail.
_BROKEN = ("UF", "UC", "UR", "UPE", "LR")
_ERRORS = ("INTERNAL", "UNAVAILABLE", "DATA_LOSS")


def token_buckets() -> Iterator[Resource]:
    """What bounds the logs, under the names that their filters ask for."""
    for name, entries in _ENTRIES.items():
        per_fill = round(entries * _FILL_EVERY)
        bucket = TokenBucket(max_tokens=entries, tokens_per_fill=per_fill, fill_interval=seconds(_FILL_EVERY))
        yield Resource.of(name, bytes(bucket))


def try_logs() -> list[AccessLog]:
    """The sample, the failures and what was asked for, over the control plane's own connection."""
    broken = AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=list(_BROKEN)))
    statuses = [GrpcStatusFilterStatus[name] for name in _ERRORS]
    failed = OrFilter(filters=[broken, AccessLogFilter(grpc_status_filter=GrpcStatusFilter(statuses=statuses))])
    bounded = AndFilter(filters=[AccessLogFilter(or_filter=failed), _bounded(FAILED_TRIES)])
    asked = HeaderFilter(header=HeaderMatcher(name=EXPLAIN_HEADER, present_match=True))
    wanted = AndFilter(filters=[AccessLogFilter(header_filter=asked), _bounded(ASKED_TRIES)])
    return [
        _log(TRIES, _bounded(TRIES)),
        _log(FAILED_TRIES, AccessLogFilter(and_filter=bounded)),
        _log(ASKED_TRIES, AccessLogFilter(and_filter=wanted)),
    ]


def log_stream(name: str) -> CommonGrpcAccessLogConfig:
    """A log that goes to the control plane over the data plane's own connection to it."""
    return CommonGrpcAccessLogConfig(
        log_name=name,
        transport_api_version=ApiVersion.V3,
        grpc_service=GrpcService(envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=XDS_CLUSTER)),
        buffer_flush_interval=seconds(0.25),
        buffer_size_bytes=64 * 1024,
    )


def _log(name: str, which: AccessLogFilter) -> AccessLog:
    config = HttpGrpcAccessLogConfig(
        common_config=log_stream(name),
        additional_request_headers_to_log=[FINGERPRINT_HEADER, ATTEMPT_HEADER, REQUEST_ID_HEADER, TRACE_HEADER],
        additional_response_headers_to_log=["grpc-status"],
        additional_response_trailers_to_log=["grpc-status"],
    )
    return AccessLog(name="envoy.access_loggers.http_grpc", filter=which, typed_config=packed(config))


def _bounded(bucket: str) -> AccessLogFilter:
    limit = ProcessRateLimitFilter(dynamic_config=DynamicTokenBucket(resource_name=bucket, config_source=ads()))
    name = "envoy.access_loggers.extension_filters.process_ratelimit"
    return AccessLogFilter(extension_filter=ExtensionFilter(name=name, typed_config=packed(limit)))
