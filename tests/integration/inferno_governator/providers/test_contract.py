"""What every provider does, whatever is behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferno_governator.providers.provider import Provider
from inferno_runtime.errors import InvalidInput, Temporary
from tests.integration.inferno_governator.providers.world import World, living, running


async def test_it_follows_the_protocol_and_says_who_it_is(world: World) -> None:
    provider = world.provider()
    assert isinstance(provider, Provider)
    assert provider.name == world.pool.provider
    assert (await provider.check()).endswith(".")


async def test_a_node_that_is_started_is_listed_with_its_name_its_pool_and_when(world: World) -> None:
    provider = world.provider()
    await provider.start("small-1", world.pool)
    assert set(await living(provider)) == {"small-1"}
    found = (await running(provider, "small-1"))["small-1"]
    assert (found.node, found.pool, found.why) == ("small-1", "small", "")
    assert found.machine
    assert found.born_at == pytest.approx((await running(world.provider(), "small-1"))["small-1"].born_at)


async def test_the_same_name_twice_is_one_node_also_after_a_restart(world: World) -> None:
    provider = world.provider()
    await provider.start("small-1", world.pool)
    await provider.start("small-1", world.pool)
    first = await running(provider, "small-1")
    again = world.provider()
    await again.start("small-1", world.pool)
    assert {name: each.machine for name, each in (await running(again, "small-1")).items()} == {
        "small-1": first["small-1"].machine
    }
    assert await world.count() == 1


async def test_what_is_stopped_costs_nothing_more_and_the_others_stay(world: World) -> None:
    provider = world.provider()
    await provider.start("small-1", world.pool)
    await provider.start("small-2", world.pool)
    await running(provider, "small-1", "small-2")
    await world.provider().stop("small-1")
    await running(provider, "small-2")
    assert await world.count() == 1


async def test_stopping_what_is_unknown_or_stopped_is_no_error(world: World) -> None:
    provider = world.provider()
    await provider.stop("never-there")
    await provider.start("small-1", world.pool)
    await running(provider, "small-1")
    await provider.stop("small-1")
    await provider.stop("small-1")
    await running(provider)
    assert await world.count() == 0


async def test_what_nobody_tagged_as_ours_is_neither_listed_nor_stopped(world: World) -> None:
    provider = world.provider()
    machine = await world.foreign()
    await provider.start("small-1", world.pool)
    await running(provider, "small-1")
    await provider.stop(machine)
    await provider.stop("small-1")
    await running(provider)
    assert await world.lives(machine)


async def test_a_pool_that_may_not_act_is_rehearsed_and_nothing_changes(world: World) -> None:
    rehearsed = replace(world.pool, act=False)
    provider = world.provider(rehearsed)
    await provider.check()
    await provider.start("small-1", rehearsed)
    assert await provider.nodes() == []
    assert await world.count() == 0


async def test_an_option_that_it_does_not_know_is_the_readers_to_mend(world: World) -> None:
    wrong = replace(world.pool, options={**world.pool.options, "colour": "blue"})
    provider = world.provider(wrong)
    with pytest.raises(InvalidInput, match="no option 'colour'"):
        await provider.start("small-1", wrong)
    with pytest.raises(InvalidInput, match="no option 'colour'"):
        await provider.check()
    assert await world.count() == 0


async def test_a_far_side_that_is_away_is_asked_again_later(world: World) -> None:
    provider = world.provider()
    await provider.start("small-1", world.pool)
    await running(provider, "small-1")
    await world.go_away()
    for asked in (provider.nodes(), provider.stop("small-1"), provider.start("small-2", world.pool)):
        with pytest.raises(Temporary) as caught:
            await asked
        assert caught.value.fix
