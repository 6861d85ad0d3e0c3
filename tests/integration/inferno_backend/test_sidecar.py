"""TLS in front of a model server: a real Envoy beside it, and the real Envoy of a proxy that calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import grpc
import psutil
import pytest
from cryptography import x509
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_backend.guarded import Place
from inferno_backend.sidecar.configuration import Doors
from inferno_backend.sidecar.sidecar import Sidecar, Wanted, retire
from inferno_proxy.envoy import admin
from inferno_runtime.addresses import parse_address
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import Unavailable
from inferno_runtime.identity.authority import Authority
from inferno_runtime.identity.folder import IdentityFolder
from tests.certificates import DOMAIN
from tests.integration.inferno_backend.members import identified, mesh_authority, ready, trusting
from tests.integration.inferno_backend.secured import Node, node
from tests.integration.inferno_proxy.envoy.world import proxied, view
from tests.waiting import eventually


@dataclass
class Calls:
    """Calls through a proxy, one after the other over gRPC and REST, and how many failed."""

    address: str
    answered: list[str]
    failed: list[str]

    async def run(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession(f"http://{self.address}") as session:
            while True:
                self.answered.append(await infer(self.address))
                async with session.post("/v2/models/magika/infer", json={}) as response:
                    if response.status != 200:
                        self.failed.append(await response.text())

    async def more(self, count: int = 20) -> None:
        """Wait for so many more answers; none may have failed."""
        wanted = len(self.answered) + count
        await eventually(lambda: len(self.answered) >= wanted, 30, f"{count} more answers")
        assert self.failed == []


def serial(certificate: Path) -> str:
    """A certificate's serial number, in hex."""
    return f"{x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number:x}"


async def shown_by(address: str, identity: IdentityFolder) -> str:
    """The serial number of the certificate that a node shows."""
    _, writer = await asyncio.open_connection(*parse_address(address), ssl=trusting(identity))
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return f"{x509.load_der_x509_certificate(shown).serial_number:x}"


async def infer(address: str) -> str:
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = await stub.ModelInfer(pb.ModelInferRequest(model_name="magika"), timeout=60)
    return str(answer.parameters["node"].string_param)


@contextlib.asynccontextmanager
async def calling(address: str) -> AsyncIterator[Calls]:
    """Calls under way all the time."""
    calls = Calls(address, [], [])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(calls.run())
        try:
            yield calls
        finally:
            task.cancel()


async def test_calls_pass_while_certificates_change_and_envoy_is_killed(socket_dir: Path, tmp_path: Path) -> None:
    by = mesh_authority()
    proxy = identified(tmp_path / "proxy", by, "proxy/p")
    async with node(tmp_path / "one", by, "one") as one, node(tmp_path / "two", by, "two") as two:
        fleet = view(one.member, two.member)
        async with (
            proxied(socket_dir, fleet, identity=proxy.path, trust_domain=DOMAIN) as address,
            calling(address) as calls,
        ):
            await calls.more()
            assert set(calls.answered) == {"one", "two"}

            identified(proxy.path, by, "proxy/p")
            identified(one.folder / "identity", by, "node/one")
            (admin_socket,) = socket_dir.glob("*-admin-*.sock")

            async def proxy_has_it() -> bool:
                _, shown = await admin.call(admin_socket, "/certs")
                return serial(proxy.certificate) in shown.lower()

            async def node_has_it() -> bool:
                shown = await shown_by(one.sidecar.endpoints.grpc, proxy)
                return shown == serial(one.folder / "identity" / "current" / "certificate.pem")

            await eventually(proxy_has_it, 10, "the proxy takes its new certificate")
            await eventually(node_has_it, 10, "the node shows its new certificate")
            await calls.more()

            dead = one.sidecar.pid
            os.kill(dead, signal.SIGKILL)
            await eventually(lambda: one.sidecar.pid not in (0, dead) and not one.sidecar.fault.value, 10, "another")
            calls.answered.clear()
            await eventually(lambda: "one" in calls.answered, 10, "it gets calls again")
            await calls.more()


async def test_only_proxies_and_clients_of_the_mesh_are_let_in(tmp_path: Path) -> None:
    by = mesh_authority()
    async with node(tmp_path / "one", by, "one") as one:
        where = one.sidecar.endpoints.http
        for name in ("proxy/p", "client/c"):
            assert await ready(where, identified(tmp_path / name, by, name))
        for name in ("node/two", "operator/o"):
            assert not await ready(where, identified(tmp_path / name, by, name))
        assert not await ready(where, identified(tmp_path / "foreign", mesh_authority(), "proxy/p"))
        assert not await ready(where, identified(tmp_path / "ended", by, "proxy/p", ends_in=-60))
        assert not await ready(where, None)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://{where}/v2/models/magika/ready")


async def test_a_node_whose_certificate_is_not_good_gets_no_calls(socket_dir: Path, tmp_path: Path) -> None:
    by = mesh_authority()
    proxy = identified(tmp_path / "proxy", by, "proxy/p")
    async with contextlib.AsyncExitStack() as stack:

        async def started(name: str, signed: Authority = by, ends_in: float = 3600.0) -> Node:
            role, _, short = name.partition("/")
            made = node(tmp_path / short, signed, short, role=role, ends_in=ends_in)
            return await stack.enter_async_context(made)

        good = await started("node/good")
        bad = [
            await started("node/ended", ends_in=-60),
            await started("node/foreign", mesh_authority()),
            await started("client/posing"),
        ]
        fleet = view(good.member, *(each.member for each in bad))
        front = proxied(socket_dir, fleet, identity=proxy.path, trust_domain=DOMAIN)
        address = await stack.enter_async_context(front)
        calls = await stack.enter_async_context(calling(address))
        await calls.more(40)
        assert set(calls.answered) == {"good"}
        assert [each.server.calls for each in bad] == [[], [], []]


async def test_it_outlives_its_agent_and_is_taken_over_or_ended_by_the_next(tmp_path: Path) -> None:
    by = mesh_authority()
    async with node(tmp_path / "one", by, "one", watched=False) as one:
        proxy, first = identified(tmp_path / "proxy", by, "proxy/p"), one.sidecar
        again = Sidecar(one.wanted, SystemClock())
        await again.start()
        assert (again.pid, again.endpoints) == (first.pid, first.endpoints)
        assert not again.fault.value
        assert await ready(again.endpoints.http, proxy)
        other = Sidecar(replace(one.wanted, domain="other"), SystemClock())
        await other.start()
        assert other.pid != first.pid
        await retire(one.wanted.place)
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection(*parse_address(other.endpoints.grpc))
        await other.stop()


async def test_a_port_that_somebody_took_is_waited_for(tmp_path: Path) -> None:
    by = mesh_authority()
    async with node(tmp_path / "one", by, "one", watched=False) as one:
        proxy, sidecar = identified(tmp_path / "proxy", by, "proxy/p"), one.sidecar
        where = sidecar.endpoints
        dead = psutil.Process(sidecar.pid)
        dead.kill()
        host, port = parse_address(where.grpc)
        await eventually(lambda: not dead.is_running(), 5, "it is gone")
        squatter = await asyncio.start_server(lambda *_: None, host, port)
        running = asyncio.create_task(sidecar.run())
        await eventually(lambda: f":{port} is used by" in sidecar.fault.value, 5, "who holds the port is told")
        squatter.close()
        await squatter.wait_closed()
        await eventually(lambda: not sidecar.fault.value, 10, "it serves again")
        assert sidecar.endpoints == where
        assert await ready(where.http, proxy)
        await sidecar.stop()
        await running


async def test_one_that_does_not_serve_says_why(tmp_path: Path) -> None:
    program = tmp_path / "envoy"
    program.write_text("#!/bin/sh\necho '[2026-01-01][critical][main] it is not its day' >&2\nexit 1\n")
    program.chmod(0o755)
    identity = identified(tmp_path / "identity", mesh_authority(), "node/one")
    wanted = Wanted(Place(tmp_path / "sidecar"), Doors("127.0.0.1", 0, 0), identity, DOMAIN, envoy=program)
    with pytest.raises(Unavailable, match="does not serve: it is not its day") as failed:
        await Sidecar(wanted, SystemClock()).start()
    assert "sidecar.log" in failed.value.fix
