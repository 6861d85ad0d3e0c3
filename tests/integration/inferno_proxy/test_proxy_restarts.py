"""What a proxy remembers when it starts again, and what it does when something it needs is not there."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import governance_service_pb2_grpc as governance_stubs
from inferno_proxy.control_plane import serve
from inferno_proxy.fleet import Address
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime import rpc
from inferno_runtime.errors import Denied
from inferno_runtime.lifecycle import Stop
from inferno_runtime.process import free_port, spawn, terminate
from tests.governance import StandIn
from tests.integration.inferno_proxy.proxies import PROGRAM, proxy
from tests.integration.inferno_proxy.test_proxy import infer, nodes, register
from tests.integration.inferno_proxy.tritons import triton
from tests.waiting import eventually


async def test_backends_that_are_no_longer_configured_are_forgotten_and_old_standby_files_go(socket_dir: Path) -> None:
    async with triton() as server:
        async with proxy(socket_dir, "--backends", str(server.address)) as running:
            await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
            await eventually((socket_dir / "fleet.json").exists, 3, "the fleet is on disk")
            await eventually(lambda: "127.0.0.1_" in (socket_dir / "fleet.json").read_text(), 3, "the node is on disk")
            await eventually(lambda: list(socket_dir.glob("standby-*")), 3, "a standby file")
        async with proxy(socket_dir, "--backends", str(server.address)) as running:
            assert await infer(running.channel), "a remembered node serves from the first moment"
        async with proxy(socket_dir) as running:
            assert not await nodes(running)
            await eventually(lambda: len(list(socket_dir.glob("standby-*"))) == 1, 3, "one standby file")


@pytest.mark.parametrize("kept", ["nothing", "an older fleet"])
async def test_a_forgotten_fleet_is_waited_for_before_anything_is_taken_away(socket_dir: Path, kept: str) -> None:
    fleet = socket_dir / "fleet.json"
    async with triton() as server:
        async with proxy(socket_dir) as running:
            await register(running, server, revision=2)
            await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
        if kept == "nothing":
            fleet.unlink()
        else:
            fleet.write_text(fleet.read_text().replace('"revision": 2', '"revision": 1'))
        began = time.monotonic()
        async with proxy(socket_dir, "--lease-duration", "1.5") as running:
            assert time.monotonic() - began > 1.5
            if kept == "an older fleet":
                await eventually(lambda: infer(running.channel), 3, "what is remembered serves then")


async def test_a_control_plane_asked_to_stop_while_it_waits_for_agents_stops(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir) as running:
        await register(running, server)
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")
    (socket_dir / "fleet.json").unlink()
    stop = Stop()
    handed = HandOver(ProxySettings(lease_duration=60), Address("127.0.0.1", free_port()))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve(handed, Layout(socket_dir), stop))
        await eventually((socket_dir / "control-http.sock").exists, 5, "it listens")
        stop.request("the test has seen enough")
        async with asyncio.timeout(60):
            await serving


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_governance_calls_reach_the_governator_through_the_public_port(socket_dir: Path, kind: str) -> None:
    class Governator(StandIn):
        async def GetCostReport(self, request: governance.GetCostReportRequest, context: Any) -> Any:
            raise Denied("the governator was asked", reason="ASKED")

    server = rpc.server()
    governance_stubs.add_GovernanceServiceServicer_to_server(Governator(), server)
    where = rpc.bind(server, "127.0.0.1:0" if kind == "tcp" else f"unix:{socket_dir}/governator.sock")
    await server.start()
    try:
        async with proxy(socket_dir / "p", "--governator", where.replace("127.0.0.1", "localhost")) as running:
            stub = governance_stubs.GovernanceServiceStub(running.channel)
            with pytest.raises(grpc.aio.AioRpcError, match="the governator was asked"):
                await stub.GetCostReport(governance.GetCostReportRequest(), timeout=60)
    finally:
        await server.stop(0)


async def test_a_governator_whose_name_does_not_resolve_costs_only_governance(socket_dir: Path) -> None:
    async with triton() as server:
        flags = ("--backends", str(server.address), "--governator", "no-such-host.invalid:1")
        async with proxy(socket_dir, *flags) as running:
            await eventually(lambda: infer(running.channel), 3, "a request reaches the node")


async def test_a_full_disk_costs_no_request(socket_dir: Path) -> None:
    async with triton() as server, proxy(socket_dir) as running:
        port = running.endpoint.rpartition(":")[2]
        fresh = socket_dir / f"standby-127.0.0.1-{port}.new"
        await eventually(lambda: not fresh.exists(), 3, "the first standby file is written")
        fresh.mkdir()
        await register(running, server)
        await eventually(lambda: infer(running.channel), 3, "a request reaches the node")


async def test_a_proxy_asked_to_stop_before_it_is_ready_stops(socket_dir: Path) -> None:
    process = await spawn([PROGRAM, "--port", "0", "--data-dir", str(socket_dir)])
    try:
        # The supervisor handles signals before it writes this file, and its control plane takes longer to import.
        await eventually((socket_dir / "control-plane.json").exists, 10, "the supervisor has begun")
    finally:
        status = await terminate(process, grace=10)
    assert status == 0
    assert not list(socket_dir.glob("*.sock"))
