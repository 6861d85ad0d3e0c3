"""Models whose nodes are of two kinds."""

from __future__ import annotations

import asyncio

from inferno_proxy.fleet import FleetView, Member, ModelState, Phase, Source
from inferno_proxy.routing.mixed import mixed, report_mixed
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import model, node
from tests.unit.inferno_proxy.registries import World
from tests.waiting import eventually


def fleet(*kinds: str) -> FleetView:
    members = {}
    for number, kind in enumerate(kinds):
        state = ModelState.LOADING if "loading" in kind else ModelState.READY
        phase = Phase.FAILED if "failed" in kind else Phase.SERVING
        one = node(f"n{number}", port=8000 + number, tls="tls" in kind, models=(model(state=state),))
        members[one.node_id] = Member(one, phase, Source.AGENT, 0.0)
    return FleetView(1, members)


def test_the_larger_half_is_what_clients_are_given() -> None:
    assert "2 of its 3 nodes: those that take no TLS" in mixed(fleet("tls", "plain", "plain"))["m"]
    assert "1 of its 2 nodes: those that take TLS" in mixed(fleet("tls", "plain"))["m"]


def test_nodes_that_serve_nobody_do_not_count() -> None:
    assert mixed(fleet("tls", "tls", "plain failed", "plain loading")) == {}


async def test_it_is_said_once_and_taken_back(world: World) -> None:
    view = Latest(fleet("tls", "plain"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(report_mixed(view, world.events, world.clock))
        for kinds, known in ((("tls", "plain"), 1), (("tls", "plain", "plain"), 1), (("tls", "tls"), 2)):
            view.set(fleet(*kinds))
            await world.clock.advance(1.0)
            await eventually(lambda count=known: len(world.events.kept) == count, 5, "what is known is said")  # type: ignore[misc]
        task.cancel()
    assert [event.kind for event in world.events.kept] == ["NODES_MIXED", "NODES_ALIKE"]
