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


async def hang_up(running: Proxy, kind: str) -> str:
    """Send SIGHUP and return the message of the event of that kind that follows."""
    stub: Any = mesh_stubs.MeshServiceStub(running.channel)
    watched = stub.WatchEvents(mesh.WatchEventsRequest(), timeout=15)
    running.process.send_signal(signal.SIGHUP)
    async for each in watched:
        if each.event.kind == kind:
            watched.cancel()
            return str(each.event.message)
    raise AssertionError(f"no {kind}")


async def test_changed_settings_hold_at_once_and_through_a_restart_of_the_control_plane(socket_dir: Path) -> None:
    file = socket_dir / "inferno.yaml"
    file.write_text("proxy: {}\n")
    async with triton() as server, proxy(socket_dir, "--config", str(file), "--backends", str(server.address)) as mine:
        await eventually(lambda: infer(mine.channel), 3, "a request reaches the node")
        file.write_text(LIMITED)
        assert f"proxy.models.m ({file}:3)" in await hang_up(mine, "CONFIG_RELOADED")
        await eventually(lambda: _refused(mine), 3, "the rate is limited")
        file.write_text("proxy: [broken\n")
        mine.child("inferno_proxy.control_plane").kill()
        await eventually(lambda: nodes(mine), 5, "it is back")
        assert f"{file}:2: this is not valid YAML" in await hang_up(mine, "CONFIG_REFUSED")
        assert await _refused(mine)


async def test_a_file_with_a_mistake_costs_no_request(socket_dir: Path) -> None:
    file = socket_dir / "inferno.yaml"
    file.write_text("proxy: {}\n")
    async with triton() as server, proxy(socket_dir, "--config", str(file), "--backends", str(server.address)) as mine:
        await eventually(lambda: infer(mine.channel), 3, "a request reaches the node")
        async with traffic(mine.channel) as outcomes:
            file.write_text("proxy:\n  models:\n    m: {retrys: 1}\n")
            said = await hang_up(mine, "CONFIG_REFUSED")
            assert f"{file}:3: unknown key 'proxy.models.m.retrys'. Did you mean 'retries'?" in said
            count = len(outcomes)
            await eventually(lambda: len(outcomes) > count + 5, 5, "more requests")
        assert all(outcomes)


async def _refused(running: Proxy) -> bool:
    return not await infer(running.channel)
