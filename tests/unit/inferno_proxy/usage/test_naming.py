from __future__ import annotations

import pytest

from inferno_proxy.fleet import FleetView, Member, Model, ModelState, ModelVersion, Phase, Source
from inferno_proxy.routing.access import Client
from inferno_proxy.usage.counts import OTHER, Who
from inferno_proxy.usage.ledger import Named
from inferno_proxy.usage.naming import named
from tests.unit.inferno_proxy.nodes import model, node

CLIENTS = {"ci": Client("ci", owner="search"), "app": Client("app")}
VERSIONS = (ModelVersion("1", ModelState.READY), ModelVersion("2", ModelState.READY))
NODE = node("n", models=(model("m", version="3"), Model("two", VERSIONS), model("gone", ModelState.UNAVAILABLE)))
VIEW = FleetView(1, {"n": Member(NODE, Phase.SERVING, Source.AGENT, 0.0, "")})


@pytest.mark.parametrize(
    ("who", "name"),
    [
        (Who("n", "m", "ci"), Named("n", "m", "3", "search", "ci")),
        (Who("n", "two", "app"), Named("n", "two", "", "app", "app")),
        (Who("n", "gone", ""), Named("n", "gone", "", "", "")),
        # A node and a client that have left.
        (Who("x", "m", "left"), Named("x", "m", "", "left", "left")),
        (Who("", OTHER, OTHER), Named("", OTHER, "", OTHER, OTHER)),
    ],
)
def test_who_asked_what(who: Who, name: Named) -> None:
    assert named(who, VIEW, CLIENTS) == name
