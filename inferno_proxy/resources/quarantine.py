"""Routes that refuse requests which kill the nodes that run them."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    Metadata,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import DirectResponseAction, HeaderMatcher, Route, RouteMatch
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Struct, Value

from inferno_proxy.resources.names import FINGERPRINT_HEADER
from inferno_proxy.routing.plan import ModelRoute

_FAILED_PRECONDITION = "9"
_NAMESPACE = "inferno.fingerprint"


def quarantine_routes(route: ModelRoute, path: str = "") -> tuple[bytes, ...]:
    """Refuse calls whose fingerprint is in quarantine: gRPC calls, or those of a REST ``path``. The call filter stays
    on: what a caller says is its fingerprint is not believed."""
    return tuple(_refusal(route, fingerprint, path) for fingerprint in sorted(route.quarantined))


def fingerprint_metadata(route: ModelRoute, others: Metadata | None = None) -> Metadata:
    """Tells the call filter to fingerprint REST calls as well (read by call_filter/fingerprint.h)."""
    wanted = Value(string_value="also" if route.stateful else "only")
    known = others.filter_metadata if others else {}
    return Metadata(filter_metadata={**known, _NAMESPACE: Struct(fields={"wanted": wanted})})


def _refusal(route: ModelRoute, fingerprint: str, path: str) -> bytes:
    header = HeaderMatcher(name=FINGERPRINT_HEADER, string_match=StringMatcher(exact=fingerprint))
    match = RouteMatch(path_separated_prefix=path) if path else RouteMatch(prefix="/")
    match.headers = [header]
    sentence = f"this request is refused: the nodes that ran it died (model {route.name}, request {fingerprint})"
    refusal = Route(
        name=f"quarantine {route.name}",
        match=match,
        direct_response=DirectResponseAction(
            status=422,
            body_format=SubstitutionFormatString(
                text_format_source=DataSource(inline_string=sentence.replace("%", "%%"))
            ),
        ),
    )
    if path:
        refusal.metadata = fingerprint_metadata(route)
    else:
        refusal.response_headers_to_add = [
            HeaderValueOption(
                header=HeaderValue(key="grpc-status", value=_FAILED_PRECONDITION),
                append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        ]
    return bytes(refusal)
