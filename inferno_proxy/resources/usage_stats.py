"""Who asked what of which node, counted by Envoy: an access log that writes nothing and adds to counters.

One log for each inference that ended: its model, the client that called, the node that answered last, how it ended and
how long it took. The names of models, clients and nodes are the operator's and the fleet's, never a caller's;
:data:`MOST` bounds how many combinations there are, and what finds no room is still in the count of all
(:data:`EVERY`). See docs/usage.md.
"""

from __future__ import annotations

import json

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog, AccessLogFilter, HeaderFilter, OrFilter
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.access_loggers.stats.v3 import Config, ConfigCounter, ConfigStat, ConfigTag
from envoy_data_plane.envoy.extensions.matching.actions.transform_stat.v3 import (
    TransformStat,
    TransformStatDropStat,
    TransformStatDropTag,
    TransformStatUpdateTag,
)
from envoy_data_plane.envoy.extensions.matching.common_inputs.stats.v3 import StatTagValueInput
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.envoy.type.v3 import Scope
from envoy_data_plane.xds.core.v3 import TypedExtensionConfig
from envoy_data_plane.xds.type.matcher.v3 import (
    Matcher,
    MatcherMatcherList,
    MatcherMatcherListFieldMatcher,
    MatcherMatcherListPredicate,
    MatcherMatcherListPredicateSinglePredicate,
    MatcherOnMatch,
    RegexMatcherGoogleRe2,
)
from envoy_data_plane.xds.type.matcher.v3 import RegexMatcher as Re2
from envoy_data_plane.xds.type.matcher.v3 import StringMatcher as Text

from inferno_proxy.resources.packing import packed
from inferno_runtime.identity.caller import CLIENT

PREFIX = "inferno_usage"
# Every inference by how it ended; and apart by model, client, node and bucket, with its time.
EVERY, ASKED, MICROS = "every", "asked", "micros"
# By model, client and node alone: bytes of requests and of answers, and tokens where an answer names them.
RECEIVED, SENT, READ, WRITTEN = "received", "sent", "read", "written"
# Headers or trailers of an answer that say so.
READ_HEADER, WRITTEN_HEADER = "x-inferno-input-tokens", "x-inferno-output-tokens"
# Upper bounds of the buckets in milliseconds: those of inferno/governance/v1/usage.proto.
BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
# Counters; each combination has two, and each client of a model on a node two to four more.
MOST = 60_000
# The whole call as its caller sees it.
_TIME = "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"
_GRPC_CALLS = "Infer"
_REST_CALLS = r"/v2/models/.*/(infer|generate|generate_stream)(\?.*)?"


def usage_stats() -> AccessLog:
    """The log. It outlives a change of the listener as those of :mod:`.call_stats` do."""
    ended = [_tag("grpc", "%GRPC_STATUS(SNAKE_STRING)%"), _tag("http", "%RESPONSE_CODE%")]
    who = [
        _tag("route", "%ROUTE_NAME%"),
        _tag("client", f"%REQ({CLIENT})%"),
        _tag("node", "%UPSTREAM_HOST_NAME%"),
    ]
    apart = [
        *who,
        *ended,
        ConfigTag(name="bucket", value_format="%DURATION%", rules=_buckets()),
    ]
    config = Config(
        stats_scope=Scope(prefix=PREFIX, max_counters=MOST),
        counters=[
            ConfigCounter(stat=ConfigStat(name=EVERY, tags=ended), value_fixed=1),
            # The time first: when there is room for one more counter, the call itself counts among the rest.
            ConfigCounter(stat=ConfigStat(name=MICROS, tags=apart), value_format=_TIME),
            ConfigCounter(stat=ConfigStat(name=ASKED, tags=apart), value_fixed=1),
            ConfigCounter(stat=ConfigStat(name=RECEIVED, tags=who), value_format="%BYTES_RECEIVED%"),
            ConfigCounter(stat=ConfigStat(name=SENT, tags=who), value_format="%BYTES_SENT%"),
            _tokens(READ, who, READ_HEADER),
            _tokens(WRITTEN, who, WRITTEN_HEADER),
        ],
    )
    return AccessLog(name="envoy.access_loggers.stats", filter=_inferences(), typed_config=packed(config))


def below(bound: int) -> str:
    """A regular expression of the whole numbers below 1, 2, 3, 5 or 6 times a power of ten.

    >>> below(1), below(5), below(10), below(30_000)
    ('0', '[0-4]', '[0-9]', '[1-2]?[0-9]{1,4}')
    """
    leading, zeros = int(str(bound)[0]), len(str(bound)) - 1
    if zeros == 0:
        return f"[0-{bound - 1}]" if bound > 1 else "0"
    rest = "[0-9]" if zeros == 1 else f"[0-9]{{1,{zeros}}}"
    if leading == 1:
        return rest
    return f"[1-{leading - 1}]?{rest}" if leading > 2 else f"1?{rest}"


def _tag(name: str, value: str) -> ConfigTag:
    return ConfigTag(name=name, value_format=value)


def _tokens(name: str, who: list[ConfigTag], header: str) -> ConfigCounter:
    """A count that an answer names itself. Without one, or with something else, there is no counter: Envoy would
    complain of a value that is no number."""
    said = json.dumps({"operators": [{"command": command, "param": header} for command in ("RESP", "TRAILER")]})
    value = f"%COALESCE({said})%"
    return ConfigCounter(
        stat=ConfigStat(name=name, tags=[*who, ConfigTag(name="tokens", value_format=value, rules=_if_a_count())]),
        value_format=value,
    )


def _inferences() -> AccessLogFilter:
    """Calls that compute, not those that ask about a model."""
    grpc = _path(StringMatcher(suffix=_GRPC_CALLS))
    rest = _path(StringMatcher(safe_regex=RegexMatcher(regex=_REST_CALLS)))
    return AccessLogFilter(or_filter=OrFilter(filters=[grpc, rest]))


def _path(matcher: StringMatcher) -> AccessLogFilter:
    return AccessLogFilter(header_filter=HeaderFilter(header=HeaderMatcher(name=":path", string_match=matcher)))


def _buckets() -> Matcher:
    """From whole milliseconds, rounded down, to the number of the bucket."""
    found = [_where(below(bound), _becomes(number)) for number, bound in enumerate(BOUNDS)]
    return Matcher(matcher_list=MatcherMatcherList(matchers=found), on_no_match=_becomes(len(BOUNDS)))


def _if_a_count() -> Matcher:
    """A number below 10^12 counts and is no label; nothing else counts."""
    found = [_where("[0-9]{1,12}", _does(TransformStat(drop_tag=TransformStatDropTag())))]
    nothing = _does(TransformStat(drop_stat=TransformStatDropStat()))
    return Matcher(matcher_list=MatcherMatcherList(matchers=found), on_no_match=nothing)


def _where(regex: str, on_match: MatcherOnMatch) -> MatcherMatcherListFieldMatcher:
    """What to do with a tag whose whole value is like this."""
    single = MatcherMatcherListPredicateSinglePredicate(
        input=TypedExtensionConfig(name="value", typed_config=packed(StatTagValueInput())),
        value_match=Text(safe_regex=Re2(google_re2=RegexMatcherGoogleRe2(), regex=regex)),
    )
    return MatcherMatcherListFieldMatcher(
        predicate=MatcherMatcherListPredicate(single_predicate=single), on_match=on_match
    )


def _becomes(number: int) -> MatcherOnMatch:
    return _does(TransformStat(update_tag=TransformStatUpdateTag(new_tag_value=str(number))))


def _does(action: TransformStat) -> MatcherOnMatch:
    return MatcherOnMatch(action=TypedExtensionConfig(name="transform", typed_config=packed(action)))
