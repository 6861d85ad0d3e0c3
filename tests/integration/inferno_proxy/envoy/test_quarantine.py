"""A model whose configuration Envoy refuses is held back, and every other one goes on."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest_asyncio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.canary import Canary, Patience
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.publishing.publisher import Publisher, Recipe, Sources
from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.reloading.alarms import Alarms
from inferno_proxy.reloading.warden import Warden
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.plan import RoutePlan, RoutingSettings
from inferno_proxy.routing.traffic import Traffic, TrafficTable
from inferno_proxy.xds.ads_service import AdsService
from inferno_proxy.xds.clients import ClientTable, SyncState, TypeStatus
from inferno_runtime import rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.gates import gate
from tests.integration.inferno_proxy.envoy.poison import crashing
from tests.integration.inferno_proxy.envoy.world import Server, member, model, resource_settings, serving, view
from tests.waiting import eventually

# Envoy's own limit of a duration is below it.
REFUSED, UNBUILDABLE = Traffic(timeout=1e10), Traffic(timeout=math.inf)


class World:
    """A control plane from fleet and recipe to xDS, and its warden; what the settings would be is set by hand."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory, self.server, self.clock = directory, server, SystemClock()
        self.listen = Address("127.0.0.1", free_port())
        self.fleet: Latest[FleetView] = Latest(FleetView())
        self.recipes = Latest(Recipe(RoutingSettings(), resource_settings(directory, self.listen)))
        self.events = EventLog(self.clock)
        self.alarms = Alarms(self.events, self.clock)
        self.clients = ClientTable(self.clock, report=self.alarms.report)
        sources = Sources(self.fleet, self.recipes)
        self.publisher = Publisher(
            sources,
            self.clock,
            plan=Planner(),
            build=self.build,
            announce=self.clients.published,
        )
        # What a test does to each snapshot for Envoy, by the plan it was made of.
        self.spoil: Callable[[RoutePlan, Snapshot], Snapshot] = lambda _, made: made
        self.patience = Patience()
        self.asked: list[set[str]] = []

    def build(self, made: RoutePlan, *given: Any) -> Mapping[Dialect, Snapshot]:
        """What the control plane builds, spoilt."""
        built = build(made, *given)
        return {**built, Dialect.ENVOY: self.spoil(made, built[Dialect.ENVOY])}

    def stage(self, made: RoutePlan, resources: ResourceSettings) -> Snapshot:
        """What a canary gets."""
        self.asked.append(set(made.models))
        return self.build(made, resources, 1, {})[Dialect.ENVOY]

    def has(self, *names: str, **treatments: Traffic) -> None:
        """Let the fleet have these models, some of which are treated in a way of their own."""
        recipe = self.recipes.value
        self.recipes.set(replace(recipe, routing=RoutingSettings(TrafficTable(treatments))))
        models = [model(name) for name in sorted({*names, *treatments})]
        self.fleet.set(replace(view(member(self.server, models)), serial=self.fleet.value.serial + 1))

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Run the publisher and the warden."""
        warden = Warden(
            self.publisher,
            self.recipes,
            self.clients,
            Canary(self.directory / "canary", self.clock, self.patience),
            self.events,
            self.alarms,
            stage=self.stage,
            place=lambda name: "inferno.yaml:7" if name == "bad" else "default",
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.publisher.run()), group.create_task(warden.run())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The same, with an Envoy behind it."""
        settings = EnvoySettings(self.directory, self.directory / "control.sock", self.listen, workers=1)
        server = rpc.server()
        async with AdsService(self.publisher.snapshots, self.clients, self.clock, gate()) as ads, self.watched():
            ads.register(server)
            rpc.bind(server, f"unix:{settings.xds_socket}")
            await server.start()
            try:
                async with (
                    EnvoyProcess(settings, Latest(initial=True), grace=0.5) as envoy,
                    asyncio.TaskGroup() as group,
                ):
                    keeper = group.create_task(envoy.keep())
                    yield
                    keeper.cancel()
            finally:
                await ads.close()
                await server.stop(0.5)

    async def said(self, kind: str, count: int = 1) -> list[str]:
        """The messages of the events of a kind, once there are so many."""

        def found() -> list[str]:
            return [each.message for each in self.events.kept if each.kind == kind]

        await eventually(lambda: len(found()) >= count, 40, f"{count} events {kind}")
        return found()


@dataclass
class Caller:
    """Calls models through the public port."""

    stub: Any

    async def status(self, name: str) -> str:
        try:
            await self.stub.ModelInfer(pb.ModelInferRequest(model_name=name), timeout=3)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"

    async def gets(self, name: str, status: str) -> None:
        async def check() -> bool:
            return await self.status(name) == status

        await eventually(check, 5, f"{status} from {name}")


@pytest_asyncio.fixture
async def world(socket_dir: Path) -> AsyncIterator[World]:
    async with serving(Server("n1")) as server:
        yield World(socket_dir, server)


async def test_one_bad_model_is_closed_and_a_new_one_is_served_all_the_same(world: World) -> None:
    world.has("m")
    async with world.running(), rpc.channel(str(world.listen)) as channel:
        caller = Caller(service_pb2_grpc.GRPCInferenceServiceStub(channel))
        await caller.gets("m", "OK")
        world.has("m", "new", bad=REFUSED)
        await caller.gets("new", "OK")
        assert await caller.status("bad") == "UNAVAILABLE"
        (said,) = await world.said("CONFIG_QUARANTINED")
        assert said.startswith(
            "Envoy 'envoy' refuses the configuration that the model 'bad' leads to (inferno.yaml:7: "
        )
        assert "Duration out-of-range" in said
        world.has("m", "new", bad=Traffic(timeout=1))
        await caller.gets("bad", "OK")
        assert await world.said("CONFIG_RELEASED")


async def test_a_model_that_goes_bad_is_treated_as_before(world: World) -> None:
    world.has("m", "n", bad=Traffic(retries=1))
    async with world.running(), rpc.channel(str(world.listen)) as channel:
        caller = Caller(service_pb2_grpc.GRPCInferenceServiceStub(channel))
        await caller.gets("bad", "OK")
        await eventually(lambda: world.clients.applied.value > 0, 5, "it is accepted")
        world.has("m", "n", bad=REFUSED)
        (said,) = await world.said("CONFIG_QUARANTINED")
        assert said.endswith("it is treated as it was before until its settings or the model itself change.")
        assert await caller.status("bad") == "OK"
        await eventually(lambda: _states(world) == {SyncState.SYNCED}, 5, "Envoy runs what was published")


async def test_a_model_that_crashes_envoy_is_closed_and_envoy_serves_again(world: World) -> None:
    def spoil(made: RoutePlan, snapshot: Snapshot) -> Snapshot:
        bad = made.models.get("bad")
        return crashing(snapshot) if bad is not None and bad.traffic.timeout == 1 else snapshot

    world.spoil = spoil
    world.has("m")
    async with world.running(), rpc.channel(str(world.listen)) as channel:
        caller = Caller(service_pb2_grpc.GRPCInferenceServiceStub(channel))
        await caller.gets("m", "OK")
        world.has("m", bad=Traffic(timeout=1))

        async def call_until_it_is_found() -> bool:
            await caller.status("m")
            return any(each.kind == "CONFIG_QUARANTINED" for each in world.events.kept)

        await eventually(call_until_it_is_found, 40, "the model that crashes Envoy is found")
        (said,) = await world.said("CONFIG_QUARANTINED")
        assert said.startswith("Envoy 'envoy' keeps ending under the configuration that the model 'bad' leads to (")
        assert "Envoy crashes with it (SIGSEGV)" in said
        await caller.gets("m", "OK")
        assert await caller.status("bad") == "UNAVAILABLE"


async def test_a_model_that_cannot_be_built_keeps_nothing_back(world: World) -> None:
    async with world.watched():
        world.has(bad=UNBUILDABLE, worse=UNBUILDABLE)
        said = await world.said("CONFIG_QUARANTINED", 2)
        assert [each.partition("model ")[2].partition(" ")[0] for each in said] == ["'bad'", "'worse'"]
        assert all(each.startswith("The control plane refuses") for each in said)
        await eventually(lambda: not world.publisher.refusal.value, 5, "it is published")
        assert set(world.publisher.planned.models) == {"bad", "worse"}


async def test_a_refusal_that_a_canary_does_not_share_holds_nobody_back(world: World) -> None:
    async with world.watched():
        world.has("m")
        await _refuse(world)
        await world.said("CLIENT_REFUSED")
        # The next alarm is heard when this one has been looked into.
        world.has("m", bad=UNBUILDABLE)
        (said,) = await world.said("CONFIG_QUARANTINED")
        assert "'bad'" in said


async def test_when_no_model_is_to_blame_nobody_is_held_back(world: World) -> None:
    world.spoil = lambda _, snapshot: crashing(snapshot)
    async with world.watched():
        world.has("m")
        await _refuse(world)
        (said,) = await world.said("CONFIG_REFUSED")
    assert said == (
        "Envoy 'foreign' refuses the configuration, and no model is to blame: Envoy crashes with it (SIGSEGV)."
    )
    assert not world.recipes.value.quarantine


async def test_without_a_canary_to_ask_nobody_is_held_back(world: World) -> None:
    world.patience = Patience(ready=0.0)
    async with world.watched():
        world.has("m", bad=UNBUILDABLE)
        await eventually(lambda: len(world.asked) == 2, 5, "it is looked into")
        world.alarms.ring()
        await eventually(lambda: len(world.asked) == 4, 5, "it is looked into once more")
    assert world.asked == 2 * [{"m", "bad"}, set()]
    assert not world.recipes.value.quarantine


async def _refuse(world: World) -> None:
    """An Envoy of somebody else connects and refuses what it gets."""
    await eventually(lambda: world.publisher.snapshots.value, 5, "something is published")
    stream = world.clients.connected("foreign", Dialect.ENVOY, "envoy 1.20")
    world.clients.update(stream, {"rds": TypeStatus(SyncState.NACKED, "", "no such field")}, 1)


def _states(world: World) -> set[SyncState]:
    return {status.state for client in world.clients.clients for status in client.types.values()}
