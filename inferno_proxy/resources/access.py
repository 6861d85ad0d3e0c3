"""Who calls and what that caller may have, for Envoy: filters in the chain where clients are known, and what they read.

The listener holds the filters and never a client, so that clients come and go without a closed connection: they stand
in the virtual host, as hashes of their keys (call it RDS). See docs/clients.md and decisions 0080 to 0082.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from envoy_data_plane.envoy.config.core.v3 import (
    AsyncDataSource,
    DataSource,
    HeaderValue,
    HeaderValueOption,
    RuntimeFractionalPercent,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    FilterConfig,
    HeaderMatcher,
    RateLimit,
    RateLimitAction,
    RateLimitActionRequestHeaders,
    Route,
    RouteMatch,
)
from envoy_data_plane.envoy.extensions.common.ratelimit.v3 import LocalRateLimitDescriptor, RateLimitDescriptorEntry
from envoy_data_plane.envoy.extensions.filters.http.local_ratelimit.v3 import LocalRateLimit
from envoy_data_plane.envoy.extensions.filters.http.wasm.v3 import Wasm
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.extensions.wasm.v3 import FailurePolicy, PluginConfig, VmConfig
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.envoy.type.v3 import FractionalPercent, HttpStatus, StatusCode, TokenBucket
from envoy_data_plane.google.protobuf import Any, StringValue
from google.protobuf import struct_pb2

from inferno_proxy.resources import access_filter
from inferno_proxy.resources.names import ACCESS_HEADER
from inferno_proxy.resources.packing import delimited, packed, seconds
from inferno_proxy.resources.refusals import DETAILS_HEADER, refusal_details
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.resources.tokens import token_filter
from inferno_proxy.routing.access import EVERY_MODEL, Client
from inferno_proxy.routing.plan import ModelRoute
from inferno_runtime.identity.caller import CLIENT, ROLE
from inferno_runtime.identity.names import Role

CALLERS_FILTER = "inferno.callers"
NAMES_FILTER = "inferno.names"
CLIENT_RATE_FILTER = "inferno.client-rate"
BUDGETS_FILTER = "inferno.budgets"
# Status by which local_replies.py tells a refusal of a client's rate from one of a model's; nobody ever sees it.
CLIENT_RATE_STATUS = 423
# The same of a budget, whose sentence access_filter/budgets.c writes.
CLIENT_BUDGET_STATUS = 424
CLIENT_TOO_OFTEN = "the limit of this client's calls is reached; try again later"
CLIENT_WAIT = 1.0
# What needs no credential: probes of load balancers and schedulers, which cannot keep one (beginnings of paths).
OPEN_PATHS = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/v2/health/",
    "/healthz",
    "/readyz",
)
# Field numbers of VirtualHost and Metadata, which may be large and are encoded once.
_METADATA = 24
_FILTER_METADATA = 1
_ENDLESS = 2**32 - 1


def access_filters(settings: ResourceSettings) -> list[HttpFilter]:
    """What stands before the filter that reads a call's model: none when nobody is asked who calls."""
    if not settings.asks:
        return []
    paths = "\n".join(OPEN_PATHS)
    filters = [token_filter(settings.tokens)] if settings.tokens else []
    filters.append(_module(CALLERS_FILTER, access_filter.callers_module(), paths))
    filters.append(HttpFilter(name=CLIENT_RATE_FILTER, typed_config=packed(LocalRateLimit(stat_prefix="client"))))
    return filters


def names_filters(settings: ResourceSettings) -> list[HttpFilter]:
    """What stands after it. It is there for whoever is restricted, also when nobody is: a filter more or less would
    be another listener, and close connections."""
    return [_module(NAMES_FILTER, access_filter.names_module(), "")] if settings.asks else []


def budget_filters(settings: ResourceSettings) -> list[HttpFilter]:
    """What stands last, behind everything else that refuses a call, for the same reason."""
    return [_module(BUDGETS_FILTER, access_filter.budgets_module(), "")] if settings.asks else []


def _module(name: str, code: bytes, configuration: str) -> HttpFilter:
    """A module that fails refuses the calls that need it."""
    config = PluginConfig(
        name=name,
        root_id=name,
        configuration=packed(StringValue(value=configuration)) if configuration else None,
        vm_config=VmConfig(
            vm_id=name,
            runtime="envoy.wasm.runtime.v8",
            code=AsyncDataSource(local=DataSource(inline_bytes=code)),
        ),
        failure_policy=FailurePolicy.FAIL_RELOAD,
        allow_on_headers_stop_iteration=True,
    )
    return HttpFilter(name=name, typed_config=packed(Wasm(config=config)))


# --------------------------------------------------------------------------------------------------------- the clients


def client_table(settings: ResourceSettings) -> bytes:
    """The fields of the virtual host that hold the clients, encoded; read by access_filter/callers.c and budgets.c."""
    return _client_table(settings.clients) if settings.asks else b""


@lru_cache(maxsize=4)
def _client_table(clients: tuple[Client, ...]) -> bytes:
    keys = {key: _record(client) for client in clients for key in client.keys}
    subjects = {subject: _record(client) for client in clients for subject in client.subjects}
    budgets = {each.name: f"{each.budget.calls} {each.budget.seconds}" for each in clients if each.budget}
    spaces = [("inferno.keys", keys), ("inferno.subjects", subjects)]
    spaces += [("inferno.budgets", budgets)] if budgets else []
    body = b"".join(delimited(_FILTER_METADATA, _entry(name, table)) for name, table in spaces)
    return delimited(_METADATA, body)


def _record(client: Client) -> str:
    return f"{client.access}\n{Role.OPERATOR if client.operator else Role.CLIENT}\n{client.name}"


def _entry(name: str, table: Mapping[str, str]) -> bytes:
    struct = struct_pb2.Struct()
    struct.update(dict(sorted(table.items())))
    return delimited(1, name.encode()) + delimited(2, struct.SerializeToString(deterministic=True))


def client_limits(settings: ResourceSettings) -> dict[str, Any]:
    """What the filters of clients do at this virtual host: each client's limit of calls, and which of them have nothing
    to do, since no client is restricted or none has a budget."""
    clients = settings.clients
    idle = {
        NAMES_FILTER: all(each.access == EVERY_MODEL for each in clients),
        BUDGETS_FILTER: not any(each.budget for each in clients),
    }
    off = {name: packed(FilterConfig(disabled=True)) for name, is_idle in idle.items() if is_idle and settings.asks}
    return {**off, **_client_rates(clients)}


def _client_rates(clients: Iterable[Client]) -> dict[str, Any]:
    buckets = [
        LocalRateLimitDescriptor(
            entries=[RateLimitDescriptorEntry(key=CLIENT, value=client.name)],
            token_bucket=TokenBucket(
                max_tokens=client.rate.calls,
                tokens_per_fill=client.rate.calls,
                fill_interval=seconds(client.rate.seconds),
            ),
        )
        for client in clients
        if client.rate is not None
    ]
    if not buckets:
        return {}
    always = RuntimeFractionalPercent(default_value=FractionalPercent(numerator=100))
    by_client = RateLimitActionRequestHeaders(header_name=CLIENT, descriptor_key=CLIENT)
    answers = {
        "retry-after": f"{CLIENT_WAIT:.0f}",
        "grpc-retry-pushback-ms": f"{CLIENT_WAIT * 1000:.0f}",
        DETAILS_HEADER: refusal_details(CLIENT_TOO_OFTEN, "RATE_LIMITED", CLIENT_WAIT),
    }
    limit = LocalRateLimit(
        stat_prefix="client",
        status=HttpStatus(code=StatusCode(CLIENT_RATE_STATUS)),
        # Of clients without a limit of their own.
        token_bucket=TokenBucket(max_tokens=_ENDLESS, tokens_per_fill=_ENDLESS, fill_interval=seconds(1)),
        always_consume_default_token_bucket=False,
        filter_enabled=always,
        filter_enforced=always,
        rate_limited_as_resource_exhausted=True,
        rate_limits=[RateLimit(actions=[RateLimitAction(request_headers=by_client)])],
        descriptors=buckets,
        response_headers_to_add=[
            HeaderValueOption(header=HeaderValue(key=key, value=value)) for key, value in answers.items()
        ],
    )
    return {CLIENT_RATE_FILTER: packed(limit)}


# ------------------------------------------------------------------------------------------------------------ refusals


def access_routes(route: ModelRoute, filters: Mapping[str, Any], path: str = "") -> tuple[bytes, ...]:
    """Refuse calls of clients that may not call the model: gRPC calls, or those of a REST ``path``.

    A call without a caller is refused as well. It has this route until the caller is known, and Envoy decides then
    which filters are in its way: so ``filters`` are those of the model's own route.
    """
    if route.callers is None:
        return ()
    match = RouteMatch(path_separated_prefix=path) if path else RouteMatch(prefix="/")
    match.headers = [_is_not(ACCESS_HEADER, each) for each in route.callers]
    sentence = f'client "%REQ({CLIENT})%" may not call model "{_plain(route.name)}": ask an operator of the mesh'
    return (_refusal(f"forbidden {route.name}", match, sentence, filters),)


def operators_only(what: str, filters: Mapping[str, Any]) -> bytes:
    """Refuse calls of whoever is no operator."""
    match = RouteMatch(prefix="/", headers=[_is_not(ROLE, Role.OPERATOR.value)])
    sentence = f'client "%REQ({CLIENT})%" may not ask {what}: that is for operators of the mesh'
    return _refusal(f"forbidden {what}", match, sentence, filters)


def _refusal(name: str, match: RouteMatch, sentence: str, filters: Mapping[str, Any]) -> bytes:
    text = SubstitutionFormatString(text_format_source=DataSource(inline_string=sentence))
    return bytes(
        Route(
            name=name,
            match=match,
            direct_response=DirectResponseAction(status=403, body_format=text),
            typed_per_filter_config=dict(filters),
        )
    )


def _is_not(name: str, value: str) -> HeaderMatcher:
    return HeaderMatcher(
        name=name,
        string_match=StringMatcher(exact=value),
        invert_match=True,
        treat_missing_header_as_empty=True,
    )


def _plain(text: str) -> str:
    return text.replace("%", "%%")
