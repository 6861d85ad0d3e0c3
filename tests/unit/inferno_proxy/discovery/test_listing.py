"""Nodes that a list names come, stay, conflict and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from inferno_proxy.discovery.listing import DRAIN, Listing, Named
from inferno_proxy.fleet import Address, Node, Phase, Source
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import model, node
from tests.unit.inferno_proxy.registries import World


class Listed(World):
    """A registry that follows a list of nodes."""

    def __init__(self, source: Source = Source.FILE) -> None:
        super().__init__()
        self.source = source
        self.named: Latest[Named | None] = Latest(None)
        self.listing = Listing(source, self.named, self.registry, self.clock, self.events)

    async def name(self, *nodes: Node) -> None:
        """The list says this now."""
        self.named.set(Named({each.node_id: each for each in nodes}, {each.node_id: "f:1" for each in nodes}))
        await self.again()

    async def again(self) -> None:
        """It is carried out."""
        assert self.named.value is not None
        await self.listing.follow(self.named.value)

    def phases(self) -> dict[str, Phase]:
        return {name: member.phase for name, member in self.registry.view.value.members.items()}

    def said(self, kind: str) -> list[str]:
        return [each.message for each in self.events.kept if each.kind == kind]


A, B = node("a", port=1, models=()), node("b", port=2, models=())


async def test_named_nodes_come_and_stay_without_a_lease() -> None:
    world = Listed()
    await world.name(A, B)
    await world.pass_time(700)
    assert world.phases() == {"a": Phase.SERVING, "b": Phase.SERVING}
    assert {member.source for member in world.registry.members()} == {Source.FILE}


async def test_a_node_that_is_named_no_more_is_drained_and_then_taken_out() -> None:
    world = Listed()
    await world.name(A, B)
    await world.name(A)
    assert world.phases() == {"a": Phase.SERVING, "b": Phase.DRAINING}
    assert world.reason("b") == "The list that named it (file) does not name it any more."
    await world.clock.advance(DRAIN - 1)
    await world.again()
    assert world.phases() == {"a": Phase.SERVING, "b": Phase.DRAINING}
    await world.clock.advance(1)
    await world.again()
    assert world.phases() == {"a": Phase.SERVING}
    assert world.kinds()[-1] == "NODE_LEFT"


async def test_a_node_that_is_named_again_takes_work_again_with_what_was_read_of_it() -> None:
    world = Listed()
    await world.name(A, B)
    world.registry.observe("b", 1, (model("m"),), "triton")
    await world.name(A)
    await world.name(A, B)
    assert world.phases() == {"a": Phase.SERVING, "b": Phase.SERVING}
    assert [one.name for one in world.registry.member("b").node.models] == ["m"]
    await world.clock.advance(DRAIN + 1)
    await world.again()
    assert world.phases() == {"a": Phase.SERVING, "b": Phase.SERVING}


async def test_a_node_that_changes_keeps_its_life() -> None:
    world = Listed()
    await world.name(A)
    await world.name(replace(A, zone="z", grpc_address=Address("127.0.0.1", 7)))
    found = world.registry.member("a").node
    assert (found.zone, found.grpc_address.port, found.incarnation, found.revision) == ("z", 7, 1, 2)
    assert world.kinds() == ["NODE_JOINED"]


async def test_a_node_that_gets_another_name_is_there_all_the_time() -> None:
    world = Listed()
    await world.name(A)
    await world.name(node("c", port=1, models=()))
    assert world.phases() == {"a": Phase.FAILED, "c": Phase.SERVING}
    assert "DISCOVERY_CONFLICT" not in world.kinds()


async def test_an_agent_comes_before_a_list_and_the_list_again_once_the_agent_has_left() -> None:
    world = Listed()
    await world.name(A)
    lease = world.registry.join(node("a", 5, port=9))
    for _ in range(3):
        lease.renew()
        await world.again()
    (said,) = world.said("DISCOVERY_CONFLICT")
    assert said.startswith(
        "f:1 names 'a' at 127.0.0.1:1, and it is known at 127.0.0.1:9 (agent): an agent comes before"
    )
    assert world.registry.member("a").source is Source.AGENT
    world.registry.deregister("a", 5)
    await world.again()
    assert (world.registry.member("a").source, world.registry.member("a").node.incarnation) == (Source.FILE, 6)
    assert len(world.said("DISCOVERY_SETTLED")) == 1


async def test_of_two_lists_that_give_one_name_the_first_stays() -> None:
    world = Listed()
    await world.name(A)
    other = Listing(Source.KUBERNETES, world.named, world.registry, world.clock, world.events)
    named = Named({"a": replace(A, grpc_address=Address("127.0.0.1", 3))}, {})
    world.named.set(named)
    await other.follow(named)
    assert world.said("DISCOVERY_CONFLICT") == [
        "kubernetes names 'a' at 127.0.0.1:3, and it is known at 127.0.0.1:1 (file): who came first stays."
    ]
    empty = Named({}, {})
    world.named.set(empty)
    await other.follow(empty)
    assert len(world.said("DISCOVERY_SETTLED")) == 1
    assert world.registry.member("a").node.grpc_address.port == 1


async def test_of_two_nodes_at_one_address_the_agents_counts_and_else_the_first() -> None:
    world = Listed()
    await world.name(A)
    await world.name(A, node("z", port=1, models=()))
    assert world.said("DISCOVERY_CONFLICT") == [
        "Nodes 'z' (file) and 'a' (file) both claim 127.0.0.1:1: who came first stays, so 'a' counts."
    ]
    world.registry.join(node("agent", port=1))
    assert world.phases() == {"a": Phase.FAILED, "z": Phase.FAILED, "agent": Phase.SERVING}
    # Both lose to the agent, in no particular order.
    lost = "Nodes 'z' (file) and 'agent' (agent) both claim 127.0.0.1:1:"
    assert any(said.startswith(lost) for said in world.said("DISCOVERY_CONFLICT")[-2:])
    world.registry.deregister("agent", 1)
    assert len(world.said("DISCOVERY_SETTLED")) == 1


async def test_a_node_that_cannot_be_let_in_is_named_once_with_its_place() -> None:
    world = Listed()
    wrong = replace(A, grpc_address=Address("169.254.169.254", 80))
    unknown = replace(B, grpc_address=Address("no-such-host.invalid", 80))
    await world.name(wrong, unknown)
    await world.again()
    said = world.said("DISCOVERY_REFUSED")
    assert len(said) == 2
    assert any(each.startswith("f:1: node.grpc_address: 169.254.169.254:80 is a link-local") for each in said)
    assert any("'no-such-host.invalid' does not resolve" in each for each in said)
    await world.name(A)
    assert world.phases() == {"a": Phase.SERVING}


async def test_a_list_that_was_replaced_while_names_were_looked_up_is_not_carried_out() -> None:
    world = Listed()
    old = Named({"a": A}, {})
    world.named.set(Named({}, {}))
    await world.listing.follow(old)
    assert world.phases() == {}


@asynccontextmanager
async def running(world: Listed) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.listing.run())
        await world.clock.settle()
        yield
        task.cancel()


async def test_it_follows_the_newest_list_and_looks_again_at_what_changed_by_itself() -> None:
    world = Listed()
    async with running(world):
        await world.clock.advance(2)
        assert world.phases() == {}
        world.named.set(Named({"a": A}, {}))
        await world.clock.settle()
        assert world.phases() == {"a": Phase.SERVING}
        world.registry.withdraw("a", Source.FILE, "Somebody took it.", at_once=True)
        await world.clock.advance(2)
        assert world.phases() == {"a": Phase.SERVING}


@pytest.mark.parametrize("source", [Source.STATIC, Source.AGENT])
async def test_only_the_source_that_named_a_node_can_take_it_back(source: Source) -> None:
    world = Listed()
    await world.name(A)
    world.registry.withdraw("a", source, "No.")
    world.registry.withdraw("unknown", source, "No.")
    assert world.phases() == {"a": Phase.SERVING}


async def test_a_long_list_leaves_others_their_turn_and_ends_when_another_one_comes() -> None:
    world = Listed()
    many = [node(f"n{number}", port=1000 + number, models=()) for number in range(120)]
    seen: list[int] = []

    async def somebody_else() -> None:
        seen.append(len(world.phases()))
        world.named.set(Named({}, {}))

    async with asyncio.TaskGroup() as group:
        naming = group.create_task(world.name(*many))
        await world.registry.view.wait_for(lambda view: bool(view.members))
        group.create_task(somebody_else())
        await naming
    assert 0 < seen[0] < 120
    await world.again()
    assert set(world.phases().values()) == {Phase.DRAINING}


async def test_a_host_name_is_looked_up_again_and_its_node_moves() -> None:
    world = Listed()
    await world.name(replace(A, grpc_address=Address("localhost", 5)))
    assert world.registry.member("a").node.grpc_address == Address("127.0.0.1", 5)
    await world.clock.advance(31)
    await world.again()
    assert world.kinds() == ["NODE_JOINED"]
