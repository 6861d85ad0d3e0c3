"""Who is at the door is said by Envoy alone, on every route to a service of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, cast

import betterproto2
import pytest
from envoy_data_plane.envoy.config.core.v3 import HeaderValueOptionHeaderAppendAction
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.config.route.v3 import Route, RouteConfiguration, RouteList
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerForwardClientCertDetails,
)
from envoy_data_plane.xds.type.matcher.v3 import Matcher, MatcherOnMatch

from inferno_proxy.resources import ResourceSettings
from inferno_proxy.resources.listeners import listener_resource
from inferno_proxy.resources.names import CONTROL_GRPC, CONTROL_HTTP, GOVERNATOR
from inferno_proxy.resources.routes import route_resource
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.plan import ModelRoute, RoutePlan
from inferno_runtime.identity.caller import DOOR, Door

PLAN = RoutePlan({"m": ModelRoute("m"), "s": ModelRoute("s", stateful=True)}, aliases={"best": Alias("m", "")})


def settings(door: Door) -> ResourceSettings:
    return ResourceSettings("/control.sock", "/http.sock", governator="/governator.sock", door=door)


def routes(message: betterproto2.Message) -> Iterator[Route]:
    """Every route of a matcher, however deep it lies."""
    if isinstance(message, MatcherOnMatch) and message.action is not None:
        assert message.action.typed_config is not None
        yield from RouteList.parse(message.action.typed_config.value).routes
    for field in dataclasses.fields(cast("Any", message)):
        value = getattr(message, field.name)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
            if isinstance(each, betterproto2.Message):
                yield from routes(each)


@pytest.mark.parametrize("door", Door)
def test_every_route_to_a_service_says_the_door_anew(door: Door) -> None:
    host = RouteConfiguration.parse(route_resource(PLAN, settings(door)).body).virtual_hosts[0]
    assert isinstance(host.matcher, Matcher)
    ours = [
        each
        for each in routes(host.matcher)
        if each.route and each.route.cluster in (CONTROL_GRPC, CONTROL_HTTP, GOVERNATOR)
    ]
    assert {each.route.cluster for each in ours if each.route} == {CONTROL_GRPC, CONTROL_HTTP, GOVERNATOR}
    for each in ours:
        (header,) = each.request_headers_to_add
        assert header.header is not None
        assert (header.header.key, header.header.value) == (DOOR, door.value)
        assert header.append_action is HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD


@pytest.mark.parametrize("door", [Door.OPEN, Door.PUBLIC])
def test_a_certificate_that_a_caller_tells_of_in_a_header_is_not_believed(door: Door) -> None:
    listener = Listener.parse(listener_resource(settings(door)).body)
    config = listener.filter_chains[0].filters[0].typed_config
    assert config is not None
    manager = HttpConnectionManager.parse(config.value)
    assert manager.forward_client_cert_details is HttpConnectionManagerForwardClientCertDetails.SANITIZE
