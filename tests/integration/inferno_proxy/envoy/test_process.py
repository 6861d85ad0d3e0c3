from __future__ import annotations

import asyncio
import contextlib
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.process import EnvoyProcess, Life, Mode
from inferno_proxy.envoy.standby import write_standby
from inferno_proxy.fleet import Address, FleetView
from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.resources import build
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.integration.inferno_proxy.envoy.world import Server, member, model, resource_settings, serving, view
from tests.integration.inferno_proxy.xds.world import ControlPlane
from tests.waiting import eventually


class World:
    """A fleet of one server, what Envoy is started with, and a control plane that may come and go."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.listen = Address("127.0.0.1", free_port())
        self.settings = EnvoySettings(directory, directory / "control.sock", self.listen, workers=1)
        self.fleet: FleetView = view(member(server, [model("magika")]))
        built = build(plan(self.fleet, RoutingSettings()), resource_settings(directory, self.listen), 1, {})
        self.snapshots = Latest(built)
        self.control = ControlPlane(f"unix:{self.settings.xds_socket}", self.snapshots)
        self.ready = Latest(initial=False)

    def write_standby(self) -> None:
        write_standby(self.settings.standby_file, self.snapshots.value[Dialect.ENVOY])

    @contextlib.asynccontextmanager
    async def controlled(self) -> AsyncIterator[None]:
        async with self.control:
            self.ready.set(True)
            yield
            self.ready.set(False)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[EnvoyProcess]:
        async with EnvoyProcess(self.settings, self.ready, grace=0.5) as envoy, asyncio.TaskGroup() as group:
            keeper = group.create_task(envoy.keep())
            yield envoy
            keeper.cancel()

    async def serves(self) -> bool:
        url = f"http://{self.listen}/v2/models/magika"
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status == 200
        return False


@pytest_asyncio.fixture
async def world(socket_dir: Path) -> AsyncIterator[World]:
    async with serving(Server("n1")) as server:
        yield World(socket_dir, server)


def life(envoy: EnvoyProcess) -> Life:
    assert envoy.life.value is not None
    return envoy.life.value


async def test_started_means_serving(world: World) -> None:
    async with world.controlled(), world.running() as envoy:
        assert await world.serves()
        assert life(envoy).mode is Mode.CONTROLLED


async def test_the_admin_interface_belongs_to_its_owner_alone(world: World) -> None:
    async with world.controlled(), world.running() as envoy:
        assert stat.S_IMODE(life(envoy).admin.stat().st_mode) == 0o600


async def test_stopping_leaves_no_process_and_no_socket(world: World) -> None:
    async with world.controlled():
        async with world.running() as envoy:
            pid = life(envoy).process.pid
        await envoy.stop()
    assert not psutil.pid_exists(pid)
    # Only what it counted of usage, for the next control plane to read.
    assert [left.suffix for left in world.settings.directory.glob("*-admin-*")] == [".usage"]


async def test_a_killed_envoy_serves_again_at_once(world: World) -> None:
    async with world.controlled(), world.running() as envoy:
        first = life(envoy)
        first.process.send_signal(signal.SIGKILL)
        await envoy.life.wait_for(lambda now: now is not None and now is not first)
        assert await world.serves()
        assert envoy.restarts == 1


class Leaping(SystemClock):
    """The machine's clock, with hours that a test may add."""

    leap = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.leap


async def test_a_death_after_a_long_life_is_not_held_against_the_next(world: World) -> None:
    clock = Leaping()
    async with (
        world.controlled(),
        EnvoyProcess(world.settings, world.ready, grace=0.5, clock=clock) as envoy,
        asyncio.TaskGroup() as group,
    ):
        keeper = group.create_task(envoy.keep())
        first = life(envoy)
        clock.leap = 3600.0
        first.process.send_signal(signal.SIGKILL)
        await envoy.life.wait_for(lambda now: now is not None and now is not first)
        assert await world.serves()
        keeper.cancel()


async def test_it_goes_on_trying_until_the_control_plane_is_back(world: World) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with world.controlled():
            starting = EnvoyProcess(world.settings, world.ready, grace=0.5, patience=2.0)
            envoy = await stack.enter_async_context(starting)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        keeper = group.create_task(envoy.keep())
        stack.callback(keeper.cancel)
        first = life(envoy)
        starting._patience = 0.2  # noqa: SLF001 - a start that may fail soon, after one that may not
        first.process.send_signal(signal.SIGKILL)
        await eventually(lambda: envoy.restarts == 1 and len(envoys(world)) == 1, 5, "Envoy starts again, alone")
        tried = envoys(world)
        await eventually(lambda: envoys(world) not in ([], tried), 5, "and again")
        starting._patience = 5.0  # noqa: SLF001
        async with world.controlled():
            await envoy.life.wait_for(lambda now: now is not None)
            assert await world.serves()


async def test_a_control_plane_that_only_seems_ready_makes_it_start_from_the_standby_file(world: World) -> None:
    world.write_standby()
    world.ready.set(True)
    async with EnvoyProcess(world.settings, world.ready, grace=0.5) as envoy:
        assert life(envoy).mode is Mode.STANDBY
        assert await world.serves()


async def test_without_a_control_plane_it_serves_the_standby_file(world: World) -> None:
    world.write_standby()
    async with world.running() as envoy:
        assert life(envoy).mode is Mode.STANDBY
        assert await world.serves()


async def test_it_leaves_standby_without_a_failed_call_when_the_control_plane_is_back(world: World) -> None:
    world.write_standby()
    failed = done = 0
    async with world.running() as envoy:
        first = life(envoy)
        async with world.controlled():
            while first.process.returncode is None:
                done += 1
                failed += not await world.serves()
            assert life(envoy).mode is Mode.CONTROLLED
            assert await world.serves()
    assert done > 100
    assert failed == 0


async def test_a_death_right_after_the_take_over_is_survived(world: World) -> None:
    world.write_standby()
    async with world.running() as envoy:
        first = life(envoy)
        async with world.controlled():
            second = await envoy.life.wait_for(lambda now: now is not first)
            assert second is not None
            second.process.send_signal(signal.SIGKILL)
            await envoy.life.wait_for(lambda now: now is not None and now is not second)
            assert await world.serves()


async def test_a_control_plane_that_only_seems_ready_leaves_the_standby_envoy_in_place(world: World) -> None:
    world.write_standby()
    async with (
        EnvoyProcess(world.settings, world.ready, grace=0.5, patience=1.0) as envoy,
        asyncio.TaskGroup() as group,
    ):
        keeper = group.create_task(envoy.keep())
        first = life(envoy)
        world.ready.set(True)
        await eventually(lambda: len(envoys(world)) == 2, 5, "a second Envoy tries")
        await eventually(lambda: len(envoys(world)) == 1, 5, "it is gone again")
        assert life(envoy) is first
        assert await world.serves()
        keeper.cancel()


async def test_envoy_and_control_plane_both_dead_is_answered_from_the_standby_file(world: World) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with world.controlled():
            envoy = await stack.enter_async_context(world.running())
            world.write_standby()
        first = life(envoy)
        first.process.send_signal(signal.SIGKILL)
        second = await envoy.life.wait_for(lambda now: now is not None and now is not first)
        assert second is not None
        assert second.mode is Mode.STANDBY
        assert await world.serves()


async def test_an_envoy_that_ends_at_once_says_why(world: World) -> None:
    long_path = World.__new__(World)
    directory = world.settings.directory / ("x" * 100)
    long_path.settings = EnvoySettings(directory, world.settings.xds_socket, world.listen)
    with pytest.raises(Unavailable, match=r"Envoy ended with status 1 before it was ready: .*path"):
        async with EnvoyProcess(long_path.settings, Latest(initial=False)):
            pytest.fail("it started")


async def test_a_damaged_standby_file_is_passed_over(world: World) -> None:
    world.settings.standby_file.write_bytes(b"\x12\x7f")
    async with world.control, EnvoyProcess(world.settings, world.ready) as envoy:
        assert life(envoy).mode is Mode.CONTROLLED
        assert await world.serves()


async def test_an_envoy_without_configuration_is_not_called_ready(world: World) -> None:
    with pytest.raises(Unavailable, match="did not become ready"):
        async with EnvoyProcess(world.settings, Latest(initial=False), patience=0.5):
            pytest.fail("it started")


async def test_envoy_dies_with_the_process_that_started_it(world: World) -> None:
    world.write_standby()
    script = f"""
import asyncio, os, signal, pathlib
from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.fleet import Address
from inferno_runtime.latest import Latest
async def main():
    settings = EnvoySettings(pathlib.Path({str(world.settings.directory)!r}), pathlib.Path("x"),
                             Address({world.listen.host!r}, {world.listen.port}), workers=1)
    async with EnvoyProcess(settings, Latest(initial=False)) as envoy:
        print(envoy.life.value.process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    await process.wait()
    await eventually(lambda: not psutil.pid_exists(pid), 5, "Envoy is gone")


def envoys(world: World) -> list[int]:
    mark = str(world.settings.directory)
    found = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p.pid for p in found if mark in " ".join(p.cmdline())]
