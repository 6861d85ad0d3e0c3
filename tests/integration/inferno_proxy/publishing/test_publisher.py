"""The publisher with a real event loop and disk; planning and building are functions given to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from inferno_proxy import resources
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from inferno_proxy.publishing.publisher import Pace, Publisher, Recipe, Sources
from inferno_proxy.publishing.snapshot import (
    Dialect,
    Resource,
    ResourceType,
    Snapshot,
    last_good_path,
    read_last_good,
    write_last_good,
)
from inferno_proxy.resources.settings import ResourceSettings
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.plan import RoutePlan, RoutingSettings
from inferno_proxy.routing.traffic import Traffic, TrafficTable
from inferno_runtime.clock import Clock, ManualClock, SystemClock
from inferno_runtime.latest import Latest
from tests.waiting import eventually

RECIPE = Recipe(RoutingSettings(), ResourceSettings(control_grpc="grpc.sock", control_http="http.sock"))


def member(number: int, revision: int = 1, *models: str) -> Member:
    served = tuple(Model(name, (ModelVersion("1", ModelState.READY),)) for name in models or ("m",))
    node = Node(f"n{number}", 1, Address("127.0.0.1", 8000 + number), revision=revision, models=served)
    return Member(node, Phase.SERVING, Source.AGENT, since=0.0)


def view(serial: int, *members: Member) -> FleetView:
    return FleetView(serial, MappingProxyType({m.node.node_id: m for m in members}))


def small(
    view: RoutePlan, _: ResourceSettings, serial: int, revisions: Mapping[str, tuple[int, int]]
) -> Mapping[Dialect, Snapshot]:
    """A build that is fast and can be made to fail: each model becomes an endpoints resource."""
    if "unbuildable" in view.models:
        raise ValueError("a defect")
    listed = {name: Resource.of(name, repr(route).encode()) for name, route in view.models.items()}
    kind = ResourceType.ENDPOINT
    if "unsound" in view.models:
        listed["filed wrongly"] = Resource.of("other", b"")
    return {Dialect.ENVOY: Snapshot(serial, {kind: listed}, revisions)}


@dataclass
class Stage:
    fleet: Latest[FleetView] = field(default_factory=lambda: Latest(view(0)))
    recipe: Latest[Recipe] = field(default_factory=lambda: Latest(RECIPE))
    advice: Latest[Advice] = field(default_factory=lambda: Latest(Advice()))
    announced: list[int] = field(default_factory=list)
    directory: Path | None = None
    pace: Pace | None = None
    clock: Clock = field(default_factory=SystemClock)
    publisher: Publisher = field(init=False)

    def made(self) -> Publisher:
        return Publisher(
            Sources(self.fleet, self.recipe, self.advice),
            self.clock,
            plan=Planner(),
            build=small,
            announce=self.announced.append,
            directory=self.directory,
            pace=self.pace,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Publisher]:
        self.publisher = self.made()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.publisher.run())
            yield self.publisher
            task.cancel()

    async def published(self, serial: int) -> Snapshot:
        async with asyncio.timeout(60):
            newest = await self.publisher.snapshots.wait_for(lambda m: bool(m) and m[Dialect.ENVOY].serial >= serial)
        return newest[Dialect.ENVOY]

    def names(self) -> set[str]:
        return set(self.publisher.snapshots.value[Dialect.ENVOY].resources[ResourceType.ENDPOINT])


async def test_the_fleet_at_the_start_is_published_at_once() -> None:
    stage = Stage(fleet=Latest(view(1, member(1))))
    async with stage.running():
        made = await stage.published(1)
        assert made.revisions == {"n1": (1, 1)}
        assert stage.announced == [1]


async def test_the_real_plan_and_build_pass_the_inspection() -> None:
    publisher = Publisher(
        Sources(Latest(view(1, member(1), member(2, 1, "m", "other"))), Latest(RECIPE)),
        SystemClock(),
        plan=Planner(),
        build=resources.build,
    )
    publisher.publish()
    assert publisher.refusal.value == ""
    assert set(publisher.snapshots.value) == set(Dialect)


async def test_advice_is_published_at_once_and_more_of_it_a_second_later() -> None:
    clock = ManualClock()
    stage = Stage(fleet=Latest(view(1, member(1))), clock=clock)
    async with stage.running():
        await stage.published(1)
        await clock.advance(1.0)
        stage.advice.set(Advice(weights={("m", "n1"): 500}))
        await stage.published(2)
        stage.advice.set(Advice(weights={("m", "n1"): 5}))
        await clock.advance(0.9)
        assert stage.publisher.snapshots.value[Dialect.ENVOY].serial == 2
        await clock.advance(0.1)
        await stage.published(3)


@pytest.mark.parametrize(
    "urgent", [Advice(hopeless=frozenset("m")), Advice(limits={"m": 1}), Advice(quarantined={"m": frozenset("f")})]
)
async def test_what_spares_a_fleet_in_distress_does_not_wait_for_other_advice(urgent: Advice) -> None:
    clock = ManualClock()
    stage = Stage(fleet=Latest(view(1, member(1))), clock=clock)
    async with stage.running():
        await stage.published(1)
        await clock.advance(1.0)
        stage.advice.set(Advice(weights={("m", "n1"): 500}))
        await stage.published(2)
        stage.advice.set(replace(urgent, weights={("m", "n1"): 5}))
        await clock.advance(0.1)
        await stage.published(3)


async def test_a_single_change_is_published_at_once_and_a_burst_as_one() -> None:
    clock = ManualClock()
    stage = Stage(pace=Pace(quiet=0.3, longest=0.6), clock=clock)
    async with stage.running():
        await stage.published(1)
        await clock.advance(0.7)
        stage.fleet.set(view(1, member(1)))
        await stage.published(2)
        for serial in range(2, 30):
            stage.fleet.set(view(serial, member(serial)))
            await asyncio.sleep(0)
        assert stage.announced == [1, 2]
        await clock.advance(0.6)
        made = await stage.published(3)
        assert made.revisions == {"n29": (1, 1)}
        assert stage.announced == [1, 2, 3]


async def test_a_burst_without_a_pause_is_published_all_the_same() -> None:
    stage = Stage(pace=Pace(quiet=0.05, longest=0.2))
    async with stage.running():
        await stage.published(1)
        serial = 1
        async with asyncio.timeout(60):
            while stage.announced[-1] < 3:
                serial += 1
                stage.fleet.set(view(serial, member(serial)))
                await asyncio.sleep(0.01)
        assert serial > 10


async def test_a_new_recipe_is_published() -> None:
    stage = Stage(fleet=Latest(view(1, member(1))))
    async with stage.running():
        await stage.published(1)
        stage.recipe.set(Recipe(RoutingSettings(TrafficTable(others=Traffic(repeatable=False))), RECIPE.resources))
        await stage.published(2)


async def test_what_changes_nothing_is_not_published() -> None:
    stage = Stage(fleet=Latest(view(1, member(1))))
    publisher = stage.made()
    publisher.publish()
    stage.fleet.set(view(2, member(1)))
    publisher.publish()
    assert stage.announced == [1]


async def test_a_new_revision_is_published_even_if_nothing_else_changed() -> None:
    stage = Stage(fleet=Latest(view(1, member(1))))
    async with stage.running():
        await stage.published(1)
        stage.fleet.set(view(2, member(1, 2)))
        assert (await stage.published(2)).revisions == {"n1": (1, 2)}


async def test_a_snapshot_that_contradicts_itself_is_refused_and_the_last_good_one_stays() -> None:
    stage = Stage(fleet=Latest(view(1, member(1))))
    async with stage.running() as publisher:
        await stage.published(1)
        stage.fleet.set(view(2, member(1, 1, "unsound")))
        async with asyncio.timeout(60):
            reason = await publisher.refusal.wait_for(bool)
        assert reason == (
            "The fleet's newest state contradicts itself: envoy: eds 'other' is filed under 'filed wrongly'."
        )
        assert stage.names() == {"m"}
        stage.fleet.set(view(3, member(1, 1, "good")))
        await stage.published(2)
        assert (stage.names(), publisher.refusal.value) == ({"good"}, "")


async def test_a_fleet_that_cannot_be_built_is_refused_and_the_last_good_one_stays() -> None:
    stage = Stage(fleet=Latest(view(1, member(1))))
    async with stage.running() as publisher:
        await stage.published(1)
        stage.fleet.set(view(2, member(1, 1, "unbuildable")))
        async with asyncio.timeout(60):
            assert await publisher.refusal.wait_for(bool) == "The fleet's newest state cannot be built: a defect"
        assert stage.names() == {"m"}


async def test_the_last_good_snapshot_is_kept_on_disk_and_its_serial_goes_on(tmp_path: Path) -> None:
    path = last_good_path(tmp_path, Dialect.ENVOY)
    write_last_good(path, Snapshot(41))
    stage = Stage(fleet=Latest(view(1, member(1))), directory=tmp_path)
    async with stage.running():
        made = await stage.published(1)
        assert made.serial == 42
        await eventually(lambda: read_last_good(path) == made, 5.0, "it is on disk")


async def test_a_disk_that_cannot_be_written_does_not_stop_publishing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stage = Stage(fleet=Latest(view(1, member(1))), directory=tmp_path / "file" / "folder")
    async with stage.running():
        await stage.published(1)
        stage.fleet.set(view(2, member(2)))
        await stage.published(2)
