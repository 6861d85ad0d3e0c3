"""Routes that refuse requests which kill the nodes that run them."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import DirectResponseAction, HeaderMatcher, Route, RouteMatch
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from inferno_proxy.resources.names import FINGERPRINT_HEADER
from inferno_proxy.routing import ModelRoute

_FAILED_PRECONDITION = "9"


def quarantine_routes(route: ModelRoute) -> tuple[bytes, ...]:
    """Refuse gRPC calls whose fingerprint is in quarantine. The call filter stays on: what a caller says is its
    fingerprint is not believed."""
    return tuple(_refusal(route.name, fingerprint) for fingerprint in sorted(route.quarantined))


def _refusal(model: str, fingerprint: str) -> bytes:
    header = HeaderMatcher(name=FINGERPRINT_HEADER, string_match=StringMatcher(exact=fingerprint))
    sentence = f"this request is refused: the nodes that ran it died (model {model}, request {fingerprint})"
    return bytes(
        Route(
            name=f"quarantine {model}",
            match=RouteMatch(prefix="/", headers=[header]),
            direct_response=DirectResponseAction(
                status=422,
                body_format=SubstitutionFormatString(
                    text_format_source=DataSource(inline_string=sentence.replace("%", "%%"))
                ),
            ),
            response_headers_to_add=[
                HeaderValueOption(
                    header=HeaderValue(key="grpc-status", value=_FAILED_PRECONDITION),
                    append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
                )
            ],
        )
    )
