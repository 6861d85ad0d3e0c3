"""What Envoy says when it answers by itself: one clear sentence, as a gRPC message or in Triton's REST form."""

from __future__ import annotations

from collections.abc import Mapping

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    HeaderFilter,
    ResponseFlagFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    RuntimeUInt32,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Struct, Value

from inferno_proxy.resources.access import CLIENT_BUDGET_STATUS, CLIENT_RATE_STATUS, CLIENT_TOO_OFTEN
from inferno_proxy.resources.rate_limits import too_often
from inferno_proxy.resources.refusals import DETAILS_HEADER, refusal_details
from inferno_proxy.resources.size_limits import LIMIT_OF_ROUTE

# Envoy's response flags (docs: configuration/observability/access_log/usage, "RESPONSE_FLAGS") and our sentences.
# %ROUTE_NAME% is "model NAME", or the name of one of our own services.
# What comes with its details in binary form stands there word for word, and so names no route.
_BUSY = "the model has as many calls under way as it may have; try again in a second"
_COME_AGAIN = 1  # seconds
_TOO_OFTEN = too_often("%ROUTE_NAME%")
_TOO_LARGE = f"the request to %ROUTE_NAME% is larger than the {LIMIT_OF_ROUTE} bytes it may have"
_OUT_OF_TIME = "the call to %ROUTE_NAME% ran out of time"
_SENTENCES = (
    (("UH",), "no node is ready to serve %ROUTE_NAME% now: nodes may be starting, draining or down; try again"),
    (
        ("UF", "URX", "LR", "UR", "UC"),
        "no server of %ROUTE_NAME% took the call: %LOCAL_REPLY_BODY%",
    ),
    (("NC",), "%ROUTE_NAME% has just been added and is not connected yet; try again"),
    (("UT", "DT", "SI"), _OUT_OF_TIME),
)


def local_replies(*, clients: bool = False) -> LocalReplyConfig:
    """Mappers in order of precedence; the last pair leaves Envoy's own words and only gives them the right form.
    ``clients``: calls may be beyond a client's limit."""
    mappers = []
    for flags, sentence in _SENTENCES:
        mappers += [_mapper(sentence, flags, grpc=True), _mapper(sentence, flags)]
    # Envoy also flags a call so whose failure was not tried again because retries have ended; hence after the failures.
    mappers += [_busy(grpc=True), _busy()]
    # A call that outlasts its time, and one beyond a rate limit, leave no flag behind, only a status.
    for status, sentence in ((504, _OUT_OF_TIME), (429, _TOO_OFTEN)):
        found = AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=_equal(status)))
        mappers += [_mapper(sentence, (), found, grpc=True), _mapper(sentence, (), found)]
    # A spent budget may be everybody's; a client's rate needs clients.
    of_clients = [(CLIENT_BUDGET_STATUS, "%LOCAL_REPLY_BODY%")]
    if clients:
        of_clients.insert(0, (CLIENT_RATE_STATUS, CLIENT_TOO_OFTEN))
    for status, sentence in of_clients:
        limited = AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=_equal(status)))
        for grpc in (True, False):
            of_client = _mapper(sentence, (), limited, grpc=grpc)
            of_client.status_code = 429
            mappers.append(of_client)
    large = AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=_equal(413)))
    exhausted = _mapper(_TOO_LARGE, (), large, grpc=True)
    exhausted.headers_to_add = _headers({"grpc-status": "8"})
    mappers += [exhausted, _mapper(_TOO_LARGE, (), large)]
    mappers.append(_mapper("%LOCAL_REPLY_BODY%", (), grpc=True))
    return LocalReplyConfig(mappers=mappers, body_format=_json("%LOCAL_REPLY_BODY%"))


def _mapper(sentence: str, flags: tuple[str, ...], *conditions: AccessLogFilter, grpc: bool = False) -> ResponseMapper:
    wanted = list(conditions)
    if flags:
        wanted.append(AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=list(flags))))
    if grpc:
        header = HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc"))
        wanted.append(AccessLogFilter(header_filter=HeaderFilter(header=header)))
    condition = wanted[0] if len(wanted) == 1 else AccessLogFilter(and_filter=AndFilter(filters=wanted))
    return ResponseMapper(filter=condition, body_format_override=_text(sentence) if grpc else _json(sentence))


def _busy(*, grpc: bool = False) -> ResponseMapper:
    """RESOURCE_EXHAUSTED or 429, and when to come again: gRPC clients follow their headers, REST clients the other."""
    mapper = _mapper(_BUSY, ("UO",), grpc=grpc)
    mapper.status_code = 429
    headers = {"retry-after": str(_COME_AGAIN)}
    if grpc:
        headers = {
            "grpc-status": "8",
            "grpc-retry-pushback-ms": str(_COME_AGAIN * 1000),
            DETAILS_HEADER: refusal_details(_BUSY, "OVERLOADED", _COME_AGAIN),
        }
    mapper.headers_to_add = _headers(headers)
    return mapper


def _headers(headers: Mapping[str, str]) -> list[HeaderValueOption]:
    return [
        HeaderValueOption(
            header=HeaderValue(key=key, value=value),
            append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
        )
        for key, value in headers.items()
    ]


def _equal(status: int) -> ComparisonFilter:
    value = RuntimeUInt32(default_value=status, runtime_key="inferno.unused")  # Envoy demands a key
    return ComparisonFilter(op=ComparisonFilterOp.EQ, value=value)


def _text(sentence: str) -> SubstitutionFormatString:
    return SubstitutionFormatString(text_format_source=DataSource(inline_string=sentence))


def _json(sentence: str) -> SubstitutionFormatString:
    """The form in which Triton reports an error over REST."""
    return SubstitutionFormatString(json_format=Struct(fields={"error": Value(string_value=sentence)}))
