"""Views for watchers: built when something changed, for all of them at once, at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from inferno_proxy.services.closing import Closing
from inferno_proxy.services.mesh_watch import Views
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Exhausted, Unavailable
from inferno_runtime.latest import Latest


class Clock(ManualClock):
    """A clock on which work takes time."""

    def spend(self, seconds: float) -> None:
        self._monotonic += seconds


def begun(views: AsyncIterator[list[int]]) -> asyncio.Task[list[int]]:
    """The wait for the next view."""

    async def step() -> list[int]:
        return await anext(views)

    return asyncio.create_task(step())


class World:
    """A view that counts how often it is built, each time taking ``cost`` seconds."""

    def __init__(self, most: int = 100) -> None:
        self.clock = Clock()
        self.closing = Closing()
        self.views = Views(self.clock, self.closing, most)
        self.causes: list[Latest[int]] = [Latest(0), Latest(0)]
        self.built = 0
        self.cost = 0.0

    def build(self) -> list[int]:
        self.built += 1
        self.clock.spend(self.cost)
        return [cause.value // 10 for cause in self.causes]

    def watch(self) -> AsyncIterator[list[int]]:
        return self.views.watch("key", self.build, self.causes)

    async def next(self, views: AsyncIterator[list[int]], seconds: float = 10.0) -> list[int]:
        step = begun(views)
        await self.clock.settle()
        await self.clock.advance(seconds)
        return await step


async def test_a_view_comes_again_when_it_is_another_one() -> None:
    world = World()
    views = world.watch()
    assert await anext(views) == [0, 0]
    world.causes[1].set(10)
    assert await world.next(views) == [0, 1]
    step = begun(views)
    await world.clock.settle()
    world.causes[0].set(1)
    await world.clock.advance(10)
    assert not step.done()
    world.causes[0].set(10)
    await world.clock.settle()
    await world.clock.advance(10)
    assert await step == [1, 1]


async def test_changes_are_gathered() -> None:
    world = World()
    views = world.watch()
    await anext(views)
    step = begun(views)
    await world.clock.settle()
    for value in (10, 20, 30):
        world.causes[0].set(value)
        await world.clock.advance(0.05)
    await world.clock.advance(1)
    assert (await step, world.built) == ([3, 0], 2)


async def test_watchers_share_what_is_built_and_an_expensive_view_is_built_seldom() -> None:
    world = World()
    world.cost = 1.0
    watchers = [world.watch() for _ in range(3)]
    assert [await anext(each) for each in watchers] == [[0, 0]] * 3
    assert world.built == 1
    steps = [begun(each) for each in watchers]
    await world.clock.settle()
    world.causes[0].set(10)
    await world.clock.settle()
    await world.clock.advance(5)
    assert not any(step.done() for step in steps)
    await world.clock.advance(6)
    assert [await step for step in steps] == [[1, 0]] * 3
    assert world.built == 2


async def test_only_so_many_watch_and_one_that_goes_makes_room() -> None:
    world = World(most=1)
    first = world.watch()
    await anext(first)
    with pytest.raises(Exhausted, match="1 views are watched"):
        await anext(world.watch())
    await first.aclose()  # type: ignore[attr-defined]
    assert await anext(world.watch()) == [0, 0]
    assert world.built == 2


async def test_the_end_of_the_control_plane_ends_a_watch() -> None:
    world = World()
    views = world.watch()
    await anext(views)
    world.closing.begin()
    with pytest.raises(Unavailable):
        await anext(views)
