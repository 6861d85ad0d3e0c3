"""Which life and revision of each node was published, against what is known now."""

from __future__ import annotations

from types import MappingProxyType

from inferno_proxy.fleet import FleetView, Member, Phase, Source
from inferno_proxy.publishing.revisions import Revisions, behind, caught_up
from tests.unit.inferno_proxy.nodes import node


def fleet(**revisions: int) -> FleetView:
    """Nodes at these revisions of their first life."""
    members = {
        name: Member(node(name, revision=revision), Phase.SERVING, Source.AGENT, 0.0)
        for name, revision in revisions.items()
    }
    return FleetView(1, MappingProxyType(members))


def test_nodes_that_come_change_and_leave_are_followed() -> None:
    revisions = Revisions()
    assert revisions.follow(fleet(a=1, b=1)) == {"a": (1, 1), "b": (1, 1)}
    assert (revisions.follow(fleet(a=2)), revisions.news) == ({"a": (1, 2)}, 2)


def test_a_fleet_remembered_as_it_was_before_lacks_the_nodes_that_were_published_later() -> None:
    published = {"a": (1, 2), "b": (1, 1), "gone": (1, 5)}
    assert behind(fleet(a=1, b=1), published) == {"a": (1, 2)}
    assert behind(fleet(a=2, b=3), published) == {}


def test_a_forgotten_fleet_lacks_all_that_was_published() -> None:
    assert behind(FleetView(), {"a": (1, 2)}) == {"a": (1, 2)}
    assert behind(FleetView(), {}) == {}


def test_it_has_caught_up_when_every_such_node_is_as_new_again() -> None:
    lacking = {"a": (1, 2), "b": (1, 1)}
    assert not caught_up(fleet(a=2), lacking)
    assert not caught_up(fleet(a=1, b=1), lacking)
    assert caught_up(fleet(a=2, b=7), lacking)
