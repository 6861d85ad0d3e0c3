"""Local rate limits for Envoy: a filter that is in the chain only when some model has a limit, and each model's own."""

from __future__ import annotations

import math

from envoy_data_plane.envoy.config.core.v3 import HeaderValue, HeaderValueOption, RuntimeFractionalPercent
from envoy_data_plane.envoy.config.route.v3 import (
    RateLimit,
    RateLimitAction,
    RateLimitActionRemoteAddress,
    RateLimitActionRequestHeaders,
)
from envoy_data_plane.envoy.extensions.common.ratelimit.v3 import LocalRateLimitDescriptor, RateLimitDescriptorEntry
from envoy_data_plane.envoy.extensions.filters.http.local_ratelimit.v3 import LocalRateLimit
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.type.v3 import FractionalPercent, TokenBucket
from envoy_data_plane.google.protobuf import Any

from inferno_proxy.resources.packing import packed, seconds
from inferno_proxy.resources.refusals import DETAILS_HEADER, refusal_details
from inferno_proxy.routing.traffic import Per, Rate

RATE_FILTER = "envoy.filters.http.local_ratelimit"
# Callers that are told apart at a time, for each model; the one not seen for longest is forgotten first.
_CALLERS = 10_000


def rate_filter() -> HttpFilter:
    """The filter in the chain; without a bucket of its own it limits nothing."""
    return HttpFilter(name=RATE_FILTER, typed_config=packed(LocalRateLimit(stat_prefix="rate")))


def too_often(what: str) -> str:
    """The sentence of a call beyond the limit."""
    return f"the limit of calls for {what} is reached; try again later"


def rate_limit(rate: Rate, what: str) -> Any:
    """One model's limit; ``what`` is its route's name. A caller without the header that tells callers apart shares one
    bucket with all such."""
    bucket = TokenBucket(max_tokens=rate.calls, tokens_per_fill=rate.calls, fill_interval=seconds(rate.seconds))
    always = RuntimeFractionalPercent(default_value=FractionalPercent(numerator=100))
    wait = rate.seconds / rate.calls
    limit = LocalRateLimit(
        stat_prefix="rate",
        token_bucket=bucket,
        filter_enabled=always,
        filter_enforced=always,
        rate_limited_as_resource_exhausted=True,
        response_headers_to_add=[
            _header("retry-after", str(math.ceil(wait))),
            _header("grpc-retry-pushback-ms", str(math.ceil(wait * 1000))),
            _header(DETAILS_HEADER, refusal_details(too_often(what), "RATE_LIMITED", wait)),
        ],
    )
    if rate.per is not Per.MODEL:
        limit.always_consume_default_token_bucket = False
        limit.max_dynamic_descriptors = _CALLERS
        limit.rate_limits = [RateLimit(actions=[caller(rate)])]
        key = "remote_address" if rate.per is Per.ADDRESS else rate.header
        limit.descriptors = [LocalRateLimitDescriptor(entries=[RateLimitDescriptorEntry(key=key)], token_bucket=bucket)]
    return packed(limit)


def caller(rate: Rate, *, optional: bool = False) -> RateLimitAction:
    """Who calls, as a descriptor's entry. A call without the header has no descriptor, or with ``optional`` one without
    this entry."""
    if rate.per is Per.ADDRESS:
        return RateLimitAction(remote_address=RateLimitActionRemoteAddress())
    return RateLimitAction(
        request_headers=RateLimitActionRequestHeaders(
            header_name=rate.header, descriptor_key=rate.header, skip_if_absent=optional
        )
    )


def _header(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name, value=value))
