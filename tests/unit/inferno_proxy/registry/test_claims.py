"""Nodes that claim one address."""

from __future__ import annotations

from inferno_proxy.fleet import Address, Phase, Source
from tests.unit.inferno_proxy.nodes import node
from tests.unit.inferno_proxy.registries import World


def test_an_address_taken_by_a_newer_node_is_lost_to_the_older_until_that_leaves(world: World) -> None:
    world.registry.join(node("old"))
    world.registry.join(node("new"))
    assert world.phase("old") is Phase.FAILED
    assert "'new'" in world.reason("old")
    assert world.phase("new") is Phase.SERVING
    world.registry.deregister("new", 1)
    assert world.phase("old") is Phase.SERVING


def test_an_agents_word_on_an_address_counts_more_than_a_list(world: World) -> None:
    world.registry.join(node("agent"))
    world.registry.join(node("listed"), Source.STATIC)
    assert (world.phase("agent"), world.phase("listed")) == (Phase.SERVING, Phase.FAILED)


async def test_a_live_node_wins_an_address_from_a_lost_one(world: World) -> None:
    world.registry.join(node("lost"))
    await world.pass_time(4)
    world.registry.join(node("listed"), Source.STATIC)
    assert (world.phase("lost"), world.phase("listed")) == (Phase.FAILED, Phase.SERVING)


def test_an_address_is_one_whether_it_is_claimed_for_grpc_or_rest(world: World) -> None:
    world.registry.join(node("a", port=1, http_address=Address("127.0.0.1", 2)))
    world.registry.join(node("b", port=2))
    assert world.phase("a") is Phase.FAILED


def test_a_node_that_moves_gives_its_address_up(world: World) -> None:
    lease = world.registry.join(node("a", port=1))
    world.registry.join(node("b", port=2))
    lease.update(node("a", port=2, revision=2))
    assert (world.phase("a"), world.phase("b")) == (Phase.SERVING, Phase.FAILED)
    lease.update(node("a", port=3, revision=3))
    assert (world.phase("a"), world.phase("b")) == (Phase.SERVING, Phase.SERVING)
