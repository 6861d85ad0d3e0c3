"""The log of tries: what Envoy tells the control plane of single tries of calls, and how often it may.

Two token buckets bound it, each shared by the whole Envoy: one for tries that failed, so that none of them is lost
among the many that did not, and one for all. They are resources of their own (``TokenBucket``), because Envoy 1.40
takes them from a configuration source only, and uses the first source it meets for every bucket.
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
    OrFilter,
)
from envoy_data_plane.envoy.config.core.v3 import ApiVersion, GrpcService, GrpcServiceEnvoyGrpc
from envoy_data_plane.envoy.extensions.access_loggers.filters.process_ratelimit.v3 import (
    DynamicTokenBucket,
    ProcessRateLimitFilter,
)
from envoy_data_plane.envoy.extensions.access_loggers.grpc.v3 import CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig
from envoy_data_plane.envoy.type.v3 import TokenBucket

from inferno_proxy.envoy.bootstrap import XDS_CLUSTER
from inferno_proxy.resources.clusters import ads
from inferno_proxy.resources.names import ATTEMPT_HEADER, FINGERPRINT_HEADER
from inferno_proxy.resources.packing import packed, seconds
from inferno_proxy.snapshot import Resource

_TRIES = "inferno.tries"
_FAILED_TRIES = "inferno.failed-tries"
# Entries a second, also the most at once.
_ENTRIES = {_TRIES: 200, _FAILED_TRIES: 200}
# Envoy refills a bucket no more often than this.
_FILL_EVERY = 0.05
# A try that got no answer at all counts as UNKNOWN here: refused, reset, timed out or cancelled. A REST answer counts
# by the gRPC status that corresponds to its HTTP status.
_FAILURES = ("UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")


def token_buckets() -> Iterator[Resource]:
    """What bounds the log, under the names that its filter asks for."""
    for name, entries in _ENTRIES.items():
        per_fill = round(entries * _FILL_EVERY)
        bucket = TokenBucket(max_tokens=entries, tokens_per_fill=per_fill, fill_interval=seconds(_FILL_EVERY))
        yield Resource.of(name, bytes(bucket))


def try_log() -> AccessLog:
    """One entry for each try that a bucket lets through, over the control plane's own connection."""
    failed = AccessLogFilter(
        grpc_status_filter=GrpcStatusFilter(statuses=[GrpcStatusFilterStatus[name] for name in _FAILURES])
    )
    counted = AccessLogFilter(and_filter=AndFilter(filters=[failed, _bounded(_FAILED_TRIES)]))
    common = CommonGrpcAccessLogConfig(
        log_name=_TRIES,
        transport_api_version=ApiVersion.V3,
        grpc_service=GrpcService(envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=XDS_CLUSTER)),
        buffer_flush_interval=seconds(0.25),
        buffer_size_bytes=64 * 1024,
    )
    config = HttpGrpcAccessLogConfig(
        common_config=common,
        additional_request_headers_to_log=[FINGERPRINT_HEADER, ATTEMPT_HEADER],
        additional_response_headers_to_log=["grpc-status"],
        additional_response_trailers_to_log=["grpc-status"],
    )
    return AccessLog(
        name="envoy.access_loggers.http_grpc",
        filter=AccessLogFilter(or_filter=OrFilter(filters=[counted, _bounded(_TRIES)])),
        typed_config=packed(config),
    )


def _bounded(bucket: str) -> AccessLogFilter:
    limit = ProcessRateLimitFilter(dynamic_config=DynamicTokenBucket(resource_name=bucket, config_source=ads()))
    name = "envoy.access_loggers.extension_filters.process_ratelimit"
    return AccessLogFilter(extension_filter=ExtensionFilter(name=name, typed_config=packed(limit)))
