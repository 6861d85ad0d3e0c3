"""The public port's routes (RDS) for Envoy.

Two hash look-ups find the route of any call, however many models there are: the path's longest known prefix, and for a
model's gRPC calls the model header, which the call filter fills in when the client did not. A model's own routes are
encoded once per value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    Metadata,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    FilterConfig,
    Route,
    RouteAction,
    RouteActionRequestMirrorPolicy,
    RouteConfiguration,
    RouteList,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.type.matcher.v3 import HttpRequestHeaderMatchInput, RegexMatcher
from envoy_data_plane.google.protobuf import Any
from envoy_data_plane.xds.core.v3 import TypedExtensionConfig
from envoy_data_plane.xds.type.matcher.v3 import (
    Matcher,
    MatcherMatcherTree,
    MatcherMatcherTreeMatchMap,
    MatcherOnMatch,
)

from inferno_proxy.publishing.snapshot import Resource
from inferno_proxy.resources.access import access_routes, client_limits, client_table, operators_only
from inferno_proxy.resources.aliases import alias_metadata
from inferno_proxy.resources.calls import GRPC_STREAM, call_deadline, hash_policies, mirror_policies
from inferno_proxy.resources.caps import cap_routes
from inferno_proxy.resources.doors import door_header
from inferno_proxy.resources.global_rates import global_rate
from inferno_proxy.resources.names import (
    CONTROL_GRPC,
    CONTROL_HTTP,
    GOVERNATOR,
    MESH,
    MODEL_HEADER,
    PUBLIC,
    grpc_cluster,
    header_value,
    http_cluster,
    path_segment,
)
from inferno_proxy.resources.packing import delimited, packed, seconds
from inferno_proxy.resources.priorities import by_priority
from inferno_proxy.resources.quarantine import fingerprint_metadata, quarantine_routes
from inferno_proxy.resources.rate_limits import RATE_FILTER, rate_limit
from inferno_proxy.resources.refusals import grpc_status, safe_for_browsers
from inferno_proxy.resources.retries import grpc_retries, hedge, hedges, http_retries, service_retries
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.resources.size_limits import SIZE_FILTER, limit_metadata, size_limit
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.caps import Barred, barred
from inferno_proxy.routing.plan import ModelRoute, RoutePlan
from inferno_runtime.identity.caller import Door

CALL_FILTER = "inferno.call"

_INFERENCE = "/inference.GRPCInferenceService/"
# The five calls that name one model: everything under this prefix except ModelStatistics.
_MODEL_CALLS = f"{_INFERENCE}Model"
_CONTROL_GRPC_PREFIXES = (
    _INFERENCE,
    f"{_INFERENCE}ModelStatistics",
    "/inferno.registration.",
    "/inferno.health.",
    "/inferno.identity.",
    "/inferno.mesh.",
    "/inferno.profile.",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.",
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/",
    "/envoy.service.load_stats.v3.LoadReportingService/",
    "/envoy.service.accesslog.v3.AccessLogService/",
)
_GOVERNANCE = "/inferno.governance."
# Everything of the REST protocol that does not name a model, and the control plane's own pages.
_CONTROL_HTTP_PREFIXES = ("/v2", "/register", "/mesh/", "/identity/authority", "/healthz", "/readyz", "/metrics")
_MODEL_PATHS = "/v2/models/"
# Paths below a model that concern the fleet, not a node: its statistics and trace settings.
_FLEET_WIDE = r"/v2/models/[^/]+(/versions/[^/]+)?/(stats|trace/setting)"
_REST_STREAM = "(/versions/[^/]+)?/generate_stream"
_NAMES_SHOWN = 20
# On routes of calls whose message nobody has to read.
_UNREAD = {CALL_FILTER: packed(FilterConfig(disabled=True))}


def route_resource(plan: RoutePlan, settings: ResourceSettings) -> Resource:
    """The one route configuration of the public listener."""
    door = settings.door
    paths = _services(settings, door)
    known = _known(plan.models)
    paths[_MODEL_CALLS] = MatcherOnMatch(matcher=_by_model(plan, settings, known))
    nowhere = _nowhere(f'no such model at "%PATH(NQ:PATH)%" ({_plain(known)})')
    paths[_MODEL_PATHS] = _run(_rest_wide(door), nowhere)
    paths["/v2/models/stats"] = _run(_service(CONTROL_HTTP, door))
    for route in map(ModelRoute.without_endpoints, plan.models.values()):
        own = _rest_model(
            route,
            settings.healing,
            settings.message_limit,
            settings.priority_header,
            barred(route.caps, settings.clients),
        )
        paths[f"{_MODEL_PATHS}{path_segment(route.name)}"] = _run(_rest_wide(door), *own, nowhere)
    for name, alias in plan.aliases.items():
        paths.setdefault(f"{_MODEL_PATHS}{name}", _run(_rest_alias(name, alias, plan), nowhere))
    virtual_host = VirtualHost(
        name=PUBLIC,
        domains=["*"],
        include_request_attempt_count=True,  # for the log of tries
        typed_per_filter_config=client_limits(settings),
        matcher=_by_path(paths, door),
    )
    # RouteConfiguration.virtual_hosts is field 2.
    host = delimited(2, bytes(virtual_host) + client_table(settings))
    return Resource.of(PUBLIC, bytes(RouteConfiguration(name=PUBLIC)) + host)


@lru_cache(maxsize=4)
def mesh_route_resource(settings: ResourceSettings) -> Resource:
    """The route configuration of the port for members of the mesh: services alone, for it has no filters of models."""
    paths = _services(settings, Door.MESH)
    ours = {prefix: found for prefix, found in paths.items() if not prefix.startswith((_INFERENCE, "/v2"))}
    virtual_host = VirtualHost(name=MESH, domains=["*"], matcher=_by_path(ours, Door.MESH))
    return Resource.of(MESH, bytes(RouteConfiguration(name=MESH, virtual_hosts=[virtual_host])))


def _services(settings: ResourceSettings, door: Door) -> dict[str, MatcherOnMatch]:
    """The control plane's paths and the governator's."""
    paths = {prefix: _run(_service(CONTROL_GRPC, door)) for prefix in _CONTROL_GRPC_PREFIXES}
    paths |= {prefix: _run(_service(CONTROL_HTTP, door)) for prefix in _CONTROL_HTTP_PREFIXES}
    if settings.governator is not None:
        closed = [operators_only("the governator", _unread(door))] if door is Door.PUBLIC and settings.asks else []
        paths[_GOVERNANCE] = _run(*closed, _service(GOVERNATOR, door))
    return paths


def _by_path(paths: Mapping[str, MatcherOnMatch], door: Door) -> Matcher:
    tree = MatcherMatcherTree(input=_header_input(":path"), prefix_match_map=_sorted_map(paths))
    return Matcher(matcher_tree=tree, on_no_match=_run(_no_such_path(door)))


def _by_model(plan: RoutePlan, settings: ResourceSettings, known: str) -> Matcher:
    """gRPC calls of models, by the model header.

    Without a match the call filter is still enabled: it reads the name, sets the header, and Envoy looks again. When
    that finds nothing either, the answer is that there is no such model.
    """
    models = {
        header_value(route.name): _run(
            *_grpc_model(
                route,
                settings.healing,
                settings.message_limit,
                settings.priority_header,
                barred(route.caps, settings.clients),
            )
        )
        for route in map(ModelRoute.without_endpoints, plan.models.values())
    }
    sentence = f'no such model: "%REQ({MODEL_HEADER})%" ({_plain(known)})'
    missing = _run(_nowhere(sentence, grpc=True, metadata=alias_metadata(plan.aliases)))
    if not models:  # Envoy takes no empty map
        return Matcher(on_no_match=missing)
    tree = MatcherMatcherTree(input=_header_input(MODEL_HEADER), exact_match_map=_sorted_map(models))
    return Matcher(matcher_tree=tree, on_no_match=missing)


@lru_cache(maxsize=4096)
def _grpc_model(
    route: ModelRoute, healing: bool, retry_buffer: int, priority: str, caps: tuple[Barred, ...]
) -> tuple[bytes, ...]:
    """The route of all calls, after one for streams where they are treated otherwise, each after one for calls that
    the header ``priority`` marks."""

    def one(
        match: RouteMatch, timeout: float, copies: Sequence[RouteActionRequestMirrorPolicy] = ()
    ) -> tuple[bytes, ...]:
        action = RouteAction(
            request_mirror_policies=list(copies),
            cluster=grpc_cluster(route.name),
            max_stream_duration=call_deadline(timeout),
        )
        if healing and route.traffic.retries:
            action.retry_policy = grpc_retries(route)
        if match.path is None:
            hedge(route, action)
        made = _model_route(route, action, match, retry_buffer)
        return by_priority(made, priority)

    every = one(RouteMatch(prefix="/"), route.traffic.timeout, mirror_policies(route, grpc_cluster(route.name)))
    if _streams_differ(route) or route.traffic.max_request_bytes != route.traffic.max_stream_bytes:
        every = one(RouteMatch(path=GRPC_STREAM), route.traffic.stream_timeout) + every
    refusals = access_routes(route, _call_filter(route)) + cap_routes(route.name, caps, _call_filter(route))
    return refusals + quarantine_routes(route) + every


@lru_cache(maxsize=4096)
def _rest_model(
    route: ModelRoute, healing: bool, retry_buffer: int, priority: str, caps: tuple[Barred, ...]
) -> tuple[bytes, ...]:
    """The route of all calls, after one for streams where they are treated otherwise, each after one for calls that
    the header ``priority`` marks."""

    def one(
        match: RouteMatch, timeout: float, copies: Sequence[RouteActionRequestMirrorPolicy] = ()
    ) -> tuple[bytes, ...]:
        action = RouteAction(
            request_mirror_policies=list(copies),
            cluster=http_cluster(route.name),
            # A caller without gRPC may bring gRPC's header all the same.
            max_stream_duration=call_deadline(timeout),
        )
        if healing and route.traffic.retries:
            action.retry_policy = http_retries(route)
        if match.safe_regex is None:
            hedge(route, action)
        made = _model_route(route, action, match, retry_buffer)
        made.response_headers_to_add = safe_for_browsers()
        if route.watched:
            made.metadata = fingerprint_metadata(route, made.metadata)
        return by_priority(made, priority)

    path = f"{_MODEL_PATHS}{path_segment(route.name)}"
    copies = mirror_policies(route, http_cluster(route.name))
    every = one(RouteMatch(path_separated_prefix=path), route.traffic.timeout, copies)
    if _streams_differ(route):
        streams = RouteMatch(safe_regex=RegexMatcher(regex=f"{re.escape(path)}{_REST_STREAM}"))
        every = one(streams, route.traffic.stream_timeout) + every
    refusals = access_routes(route, _call_filter(route), path) + cap_routes(route.name, caps, _call_filter(route), path)
    return refusals + quarantine_routes(route, path) + every


def _streams_differ(route: ModelRoute) -> bool:
    return hedges(route) or route.mirror is not None or route.traffic.timeout != route.traffic.stream_timeout


def _model_route(route: ModelRoute, action: RouteAction, match: RouteMatch, retry_buffer: int) -> Route:
    """No time limit of our own unless the operator set one: generation may take as long as it takes."""
    action.timeout = seconds(0)
    action.idle_timeout = seconds(0)
    action.hash_policy = hash_policies(route)
    action.rate_limits = global_rate(route.name, route.traffic.rate)
    filters = _call_filter(route)
    name = f"model {route.name}"
    if route.traffic.rate is not None:
        filters[RATE_FILTER] = rate_limit(route.traffic.rate, name)
    most = route.traffic.max_stream_bytes if match.path == GRPC_STREAM else route.traffic.max_request_bytes
    if most:
        filters[SIZE_FILTER] = size_limit(most)
    return Route(
        name=name,
        match=match,
        route=action,
        typed_per_filter_config=filters,
        request_body_buffer_limit=retry_buffer,
        metadata=limit_metadata(most) if most else None,
    )


def _call_filter(route: ModelRoute) -> dict[str, Any]:
    """The call filter stays on where it reads the sequence id, which then decides the node, and where it makes
    fingerprints."""
    return {} if route.stateful or route.watched else dict(_UNREAD)


@lru_cache(maxsize=16)
def _service(cluster: str, door: Door) -> bytes:
    """Calls to our own services; streams among them live as long as their peers."""
    return bytes(_service_route(cluster, RouteMatch(prefix="/"), door))


@lru_cache(maxsize=4)
def _rest_wide(door: Door) -> bytes:
    """Model paths that the control plane answers for the whole fleet."""
    return bytes(_service_route(CONTROL_HTTP, RouteMatch(safe_regex=RegexMatcher(regex=_FLEET_WIDE)), door))


def _service_route(cluster: str, match: RouteMatch, door: Door) -> Route:
    """The only maker of routes to services of ours: they believe what these say of the caller."""
    return Route(
        name="the governator" if cluster == GOVERNATOR else "the control plane",
        match=match,
        route=RouteAction(cluster=cluster, timeout=seconds(0), idle_timeout=seconds(0), retry_policy=service_retries()),
        request_headers_to_add=[door_header(door)],
        response_headers_to_add=safe_for_browsers() if cluster == CONTROL_HTTP else [],
        typed_per_filter_config=_unread(door),
    )


def _unread(door: Door) -> dict[str, Any]:
    """Without the call filter, where there is one: the call names no model."""
    return {} if door is Door.MESH else dict(_UNREAD)


def _rest_alias(name: str, alias: Alias, plan: RoutePlan) -> bytes:
    """Has the call filter put the model into the path, after which the call has the model's route."""
    target = plan.models.get(alias.model)
    return bytes(
        Route(
            name=f"alias {name}",
            match=RouteMatch(path_separated_prefix=f"{_MODEL_PATHS}{name}"),
            direct_response=DirectResponseAction(status=404),
            metadata=alias_metadata(
                {name: replace(alias, model=path_segment(alias.model))}, stateful=target is not None and target.stateful
            ),
        )
    )


def _nowhere(sentence: str, *, grpc: bool = False, metadata: Metadata | None = None) -> bytes:
    """The answer NOT_FOUND with a sentence (an Envoy format string). Envoy itself would make a 404 UNIMPLEMENTED."""
    return bytes(
        Route(
            name="no-such-model",
            match=RouteMatch(prefix="/"),
            direct_response=DirectResponseAction(status=404, body_format=_format(sentence)),
            response_headers_to_add=[grpc_status(5)] if grpc else safe_for_browsers(),
            metadata=metadata,
            typed_per_filter_config={} if grpc else dict(_UNREAD),
        )
    )


def _no_such_path(door: Door) -> bytes:
    return bytes(
        Route(
            name="no-such-path",
            match=RouteMatch(prefix="/"),
            direct_response=DirectResponseAction(
                status=404, body_format=_format("nothing is served at %PATH(NQ:PATH)% on this port")
            ),
            typed_per_filter_config=_unread(door),
        )
    )


def _known(models: Iterable[str]) -> str:
    """The models there are, in a bounded sentence.

    >>> _known([]), _known(["a", "b"])
    ('the fleet serves no model yet', 'the fleet serves: a, b')
    """
    names = sorted(models)
    if not names:
        return "the fleet serves no model yet"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"the fleet serves: {', '.join(names[:_NAMES_SHOWN])}{more}"


def _plain(text: str) -> str:
    """Text inside an Envoy format string."""
    return text.replace("%", "%%")


def _format(text: str) -> SubstitutionFormatString:
    return SubstitutionFormatString(text_format_source=DataSource(inline_string=text))


def _header_input(name: str) -> TypedExtensionConfig:
    return TypedExtensionConfig(name=name, typed_config=packed(HttpRequestHeaderMatchInput(header_name=name)))


def _sorted_map(entries: Mapping[str, MatcherOnMatch]) -> MatcherMatcherTreeMatchMap:
    """Sorted, so that equal plans give equal bytes."""
    return MatcherMatcherTreeMatchMap(map=dict(sorted(entries.items())))


def _run(*routes: bytes) -> MatcherOnMatch:
    """Use the first of these encoded routes whose own match agrees."""
    # RouteList.routes is field 1; joining encoded routes saves encoding every model's routes on every change.
    body = b"".join(delimited(1, route) for route in routes)
    packed_list = Any(type_url=packed(RouteList()).type_url, value=body)
    return MatcherOnMatch(action=TypedExtensionConfig(name="route", typed_config=packed_list))
