"""A running proxy reads its settings again."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.test_proxy import infer, nodes, traffic
from tests.integration.inferno_proxy.tritons import triton
from tests.waiting import eventually

LIMITED = "proxy:\n  models:\n    m:\n      rate: {calls: 1, seconds: 60}\n"


async def hang_up(running: Proxy, kind: str, count: int = 1) -> list[str]:
    """Send SIGHUP and return the messages of the events of that kind, once there are so many."""
    running.process.send_signal(signal.SIGHUP)
    return await events(running, kind, count)


async def events(running: Proxy, kind: str, count: int = 1) -> list[str]:
    """The messages of the events of that kind, once there are so many."""
    stub: Any = mesh_stubs.MeshServiceStub(running.channel)
    watched = stub.WatchEvents(mesh.WatchEventsRequest(), timeout=60)
    found: list[str] = []
    async for each in watched:
        found += [str(each.event.message)] if each.event.kind == kind else []
        if len(found) == count:
            watched.cancel()
            break
    return found


async def test_changed_settings_hold_at_once_and_through_a_restart_of_the_control_plane(socket_dir: Path) -> None:
    file = socket_dir / "inferno.yaml"
    file.write_text("proxy: {}\n")
    async with triton() as server, proxy(socket_dir, "--config", str(file), "--backends", str(server.address)) as mine:
        await eventually(lambda: infer(mine.channel), 3, "a request reaches the node")
        file.write_text(LIMITED)
        (said,) = await hang_up(mine, "CONFIG_RELOADED")
        assert f"proxy.models.m ({file}:3)" in said
        await eventually(lambda: _refused(mine), 3, "the rate is limited")
        file.write_text("proxy: [broken\n")
        mine.child("inferno_proxy.control_plane").kill()
        await eventually(lambda: nodes(mine), 5, "it is back")
        (said,) = await hang_up(mine, "CONFIG_REFUSED")
        assert f"{file}:2: this is not valid YAML" in said
        assert await _refused(mine)


async def test_a_file_that_changes_is_read_without_a_signal(socket_dir: Path) -> None:
    # As Kubernetes mounts it: the file is a link into a folder that is a link, too.
    for version, text in (("v1", "proxy: {}\n"), ("v2", LIMITED)):
        (socket_dir / version).mkdir()
        (socket_dir / version / "inferno.yaml").write_text(text)
    (socket_dir / "..data").symlink_to("v1")
    (file := socket_dir / "inferno.yaml").symlink_to("..data/inferno.yaml")
    async with triton() as server, proxy(socket_dir, "--config", str(file), "--backends", str(server.address)) as mine:
        await eventually(lambda: infer(mine.channel), 3, "a request reaches the node")
        (socket_dir / "..fresh").symlink_to("v2")
        (socket_dir / "..fresh").replace(socket_dir / "..data")
        (said,) = await events(mine, "CONFIG_RELOADED")
        assert f"proxy.models.m ({file}:3)" in said
        await eventually(lambda: _refused(mine), 3, "the rate is limited")


async def test_a_file_with_a_mistake_costs_no_request(socket_dir: Path) -> None:
    file = socket_dir / "inferno.yaml"
    file.write_text("proxy: {}\n")
    async with triton() as server, proxy(socket_dir, "--config", str(file), "--backends", str(server.address)) as mine:
        await eventually(lambda: infer(mine.channel), 3, "a request reaches the node")
        async with traffic(mine.channel) as outcomes:
            file.write_text("proxy:\n  models:\n    m: {retrys: 1}\n")
            (said,) = await hang_up(mine, "CONFIG_REFUSED")
            assert f"{file}:3: unknown key 'proxy.models.m.retrys'. Did you mean 'retries'?" in said
            count = len(outcomes)
            await eventually(lambda: len(outcomes) > count + 5, 5, "more requests")
        assert all(outcomes)


async def test_settings_that_envoy_refuses_are_named_with_their_line_and_cost_nothing(socket_dir: Path) -> None:
    file = socket_dir / "inferno.yaml"
    # Valid as a number of seconds; Envoy's own limit is below it.
    file.write_text("proxy:\n  models:\n    n: {timeout: 10000000000}\n")
    async with triton() as server, proxy(socket_dir, "--config", str(file), "--backends", str(server.address)) as mine:
        await eventually(lambda: infer(mine.channel), 3, "a request reaches the node, for it starts without them")
        file.write_text("proxy:\n  models:\n    m: {retries: 1}\n    n: {timeout: 20000000000}\n")
        async with traffic(mine.channel) as outcomes:
            said = await hang_up(mine, "CONFIG_REFUSED", 2)
        assert f"{file}:3: proxy.models.n: Envoy refuses it" in said[0]
        assert f"{file}:4: proxy.models.n: Envoy refuses it" in said[1]
        assert all(outcomes)


async def _refused(running: Proxy) -> bool:
    return not await infer(running.channel)
