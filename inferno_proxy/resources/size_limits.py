"""Limits of how large a request may be: a place in Envoy's filter chain, filled on the routes of models with a limit.

Bytes are counted as they pass; nothing is held back for it. The place is a composite filter, because it looks at its
route when the headers reach it, after the call filter has found the model: a model that is named in the message has the
same limit as one named in the header.
"""

from __future__ import annotations

import betterproto2
from envoy_data_plane.envoy.config.core.v3 import Metadata
from envoy_data_plane.envoy.config.core.v3 import TypedExtensionConfig as FilterExtension
from envoy_data_plane.envoy.extensions.filters.http.composite.v3 import (
    Composite,
    CompositePerRoute,
    ExecuteFilterAction,
)
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.google.protobuf import Any, Struct, UInt64Value, Value
from envoy_data_plane.message_pool import default_message_pool
from envoy_data_plane.xds.core.v3 import TypedExtensionConfig
from envoy_data_plane.xds.type.matcher.v3 import Matcher, MatcherOnMatch
from pydantic.dataclasses import dataclass

from inferno_proxy.resources.packing import packed

SIZE_FILTER = "inferno.size"
_METADATA = "inferno"
_LIMIT = "max_request_bytes"
# An Envoy format string: the limit of the route in bytes.
LIMIT_OF_ROUTE = f"%METADATA(ROUTE:{_METADATA}:{_LIMIT})%"


@dataclass(eq=False, repr=False)
class BodySizeLimit(betterproto2.Message):
    """``envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit``: new in Envoy 1.40, not yet in the
    bindings."""

    max_request_bytes: UInt64Value | None = betterproto2.field(1, betterproto2.TYPE_MESSAGE, optional=True)


default_message_pool.register_message(
    "envoy.extensions.filters.http.body_size_limit.v3", "BodySizeLimit", BodySizeLimit
)


def size_filter() -> HttpFilter:
    """The place in the chain; on a route that says nothing it does nothing."""
    return HttpFilter(name=SIZE_FILTER, typed_config=packed(Composite()))


def size_limit(most: int) -> Any:
    """Refuse a request on this route as soon as more than ``most`` bytes of it have come."""
    limit = packed(BodySizeLimit(max_request_bytes=UInt64Value(value=most)))
    action = ExecuteFilterAction(typed_config=FilterExtension(name="size", typed_config=limit))
    always = MatcherOnMatch(action=TypedExtensionConfig(name="size", typed_config=packed(action)))
    return packed(CompositePerRoute(matcher=Matcher(on_no_match=always)))


def limit_metadata(most: int) -> Metadata:
    """What the sentence of a refusal quotes."""
    return Metadata(filter_metadata={_METADATA: Struct(fields={_LIMIT: Value(string_value=str(most))})})
