"""Routes that refuse the calls of whoever has spent a hard budget. What is under way has its route already, and goes
on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import DirectResponseAction, HeaderMatcher, Route, RouteMatch
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher

from inferno_proxy.resources.access import CLIENT_BUDGET_STATUS
from inferno_proxy.routing.caps import Barred
from inferno_runtime.identity.caller import CLIENT

_RESOURCE_EXHAUSTED = "8"


def cap_routes(model: str, caps: tuple[Barred, ...], filters: Mapping[str, Any], path: str = "") -> tuple[bytes, ...]:
    """Refuse calls of a model: gRPC calls, or those of a REST ``path``. ``filters`` are those of the model's own route,
    which a call has until Envoy knows who calls."""
    return tuple(_refusal(model, each, filters, path) for each in caps)


def _refusal(model: str, cap: Barred, filters: Mapping[str, Any], path: str) -> bytes:
    match = RouteMatch(path_separated_prefix=path) if path else RouteMatch(prefix="/")
    if cap.clients is not None:
        names = RegexMatcher(regex="|".join(map(re.escape, cap.clients)))
        match.headers = [HeaderMatcher(name=CLIENT, string_match=StringMatcher(safe_regex=names))]
    headers = {"retry-after": format_datetime(datetime.fromtimestamp(cap.until, UTC), usegmt=True)}
    if not path:
        # Clients that try again by themselves would do so for days.
        headers |= {"grpc-status": _RESOURCE_EXHAUSTED, "grpc-retry-pushback-ms": "-1"}
    sentence = DataSource(inline_string=cap.sentence.replace("%", "%%"))
    return bytes(
        Route(
            name=f"capped {model}",
            match=match,
            direct_response=DirectResponseAction(
                status=CLIENT_BUDGET_STATUS, body_format=SubstitutionFormatString(text_format_source=sentence)
            ),
            response_headers_to_add=[
                HeaderValueOption(
                    header=HeaderValue(key=key, value=value),
                    append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
                )
                for key, value in headers.items()
            ],
            typed_per_filter_config=dict(filters),
        )
    )
