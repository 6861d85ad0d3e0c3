from __future__ import annotations

import pytest

from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import FleetView, Member, Phase, Source
from inferno_proxy.routing.access import Client
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.caps import Cap, barred
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.steering import FREE, Steering
from tests.unit.inferno_proxy.nodes import model, node

CLIENTS = (Client("ci", owner="search"), Client("app", owner="search"), Client("ads"))


@pytest.mark.parametrize(
    ("team", "key", "names"),
    [
        ("search", "", ("app", "ci")),
        ("search", "ci", ("ci",)),
        ("", "ads", ("ads",)),
        ("ads", "", ("ads",)),
        ("", "", None),
    ],
)
def test_a_cap_bars_the_clients_of_its_team_and_key(team: str, key: str, names: tuple[str, ...] | None) -> None:
    assert [each.clients for each in barred([Cap(team, key, "", "spent", 9.0)], CLIENTS)] == [names]


@pytest.mark.parametrize(("team", "key"), [("nobody", ""), ("", "gone"), ("search", "ads")])
def test_a_cap_of_nobody_bars_nobody(team: str, key: str) -> None:
    assert barred([Cap(team, key, "", "spent", 9.0)], CLIENTS) == ()


def test_caps_lie_on_the_routes_of_their_models_and_go_again() -> None:
    view = FleetView(1, {"a": Member(node("a", models=(model("m"), model("n"))), Phase.SERVING, Source.AGENT, 0.0, "")})
    every, one = Cap("search", "", "", "spent", 9.0), Cap("", "", "n", "spent", 9.0)
    planner, settings, advice = Planner(), RoutingSettings(), Advice()

    def caps(steering: Steering) -> dict[str, tuple[Cap, ...]]:
        return {name: route.caps for name, route in planner(view, settings, advice, steering).models.items()}

    assert caps(Steering(caps=(one,))) == {"m": (), "n": (one,)}
    assert caps(Steering(caps=(one, every))) == {"m": (every,), "n": (one, every)}
    assert caps(FREE) == {"m": (), "n": ()}
