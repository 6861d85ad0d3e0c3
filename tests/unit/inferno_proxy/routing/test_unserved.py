"""Rules for models that nobody serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inferno_proxy.fleet import Address
from inferno_proxy.publishing.publisher import Recipe
from inferno_proxy.resources import ResourceSettings
from inferno_proxy.routing.unserved import PATIENCE, Rules, report_unserved
from inferno_proxy.settings import ProxySettings
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import model, node
from tests.unit.inferno_proxy.registries import World
from tests.waiting import eventually

RESOURCES = ResourceSettings("/g", "/h", Address("127.0.0.1", 80))


def recipe(*models: str) -> Recipe:
    rules = {name: {"retries": 1} for name in models}
    return Recipe(ProxySettings.model_validate({"models": rules}).routing, RESOURCES)


@asynccontextmanager
async def reporting(world: World, recipes: Latest[Recipe]) -> AsyncIterator[None]:
    where = {"fyletype": "i.yaml:4"}
    rules = Rules(recipes, lambda name: where.get(name, "default"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(report_unserved(rules, world.registry.view, world.events, world.clock))
        await world.clock.settle()
        yield
        task.cancel()


async def said(world: World, kind: str, count: int = 1) -> list[str]:
    """The messages of events of a kind, once there are so many."""

    def found() -> list[str]:
        return [each.message for each in world.events.kept if each.kind == kind]

    await eventually(lambda: len(found()) >= count, 5, f"{count} events {kind}")
    return found()


async def test_a_rule_for_a_model_that_nobody_serves_is_named_once_and_cleared_when_it_comes() -> None:
    world, recipes = World(), Latest(recipe("*", "filetype", "fyletype", "x"))
    world.registry.join(node("a", models=(model("filetype"),)))
    async with reporting(world, recipes):
        await world.clock.advance(PATIENCE - 1)
        assert "RULE_UNSERVED" not in world.kinds()
        await world.clock.advance(2)
        assert await said(world, "RULE_UNSERVED", 2) == [
            "i.yaml:4: proxy.models.fyletype: no node has such a model yet. Was 'filetype' meant?",
            "proxy.models.x: no node has such a model yet. The rule holds once one has.",
        ]
        await eventually(lambda: world.clock.sleepers, 5, "it waits")
        await world.clock.advance(20)
        world.registry.join(node("b", port=8002, models=(model("fyletype"),)))
        await world.clock.advance(1)
        assert await said(world, "RULE_SERVED") == ["A node has the model 'fyletype' now: its rule holds."]
    assert world.events.counts["RULE_UNSERVED"] == 2


async def test_a_rule_that_is_taken_back_says_nothing_more() -> None:
    world, recipes = World(), Latest(recipe("x"))
    async with reporting(world, recipes):
        await world.clock.advance(PATIENCE + 1)
        await said(world, "RULE_UNSERVED")
        recipes.set(recipe())
        await eventually(lambda: world.clock.sleepers, 5, "it waits")
        await world.clock.advance(1)
        recipes.set(recipe("x"))
        await world.clock.advance(PATIENCE + 2)
        await said(world, "RULE_UNSERVED", 2)
    assert "RULE_SERVED" not in world.kinds()
