"""Nodes that join the mesh with a token and stay its members: parts of the agent, a real Envoy and control plane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from inferno.identity.v1 import identity_service_pb2 as wire
from inferno.identity.v1 import identity_service_pb2_grpc as stubs
from inferno.mesh.v1 import mesh_service_pb2 as mesh_wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from inferno_backend.joining import join
from inferno_backend.link import Link
from inferno_backend.membership import Membership
from inferno_backend.node import Condition, Endpoints, Hardware, Identity, NodeState, Revised
from inferno_backend.registration import Registrar
from inferno_runtime import rpc
from inferno_runtime.clock import Clock, ManualClock, SystemClock
from inferno_runtime.errors import Denied, InfernoError, InvalidInput, Unauthenticated, Unavailable
from inferno_runtime.identity.authority import make_request
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.folder import IdentityFolder
from inferno_runtime.identity.join_token import JoinToken
from inferno_runtime.identity.preflight import Facts, check_identity
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.certificates import identity, issued
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.waiting import eventually

NODE = "gpu-7"
STATE = NodeState(Condition.SERVING, "", Endpoints("127.0.0.1:1"))


class World:
    """A proxy with a mesh port, and nodes that know only its address and a token."""

    def __init__(self, running: Proxy, data: Path, mesh: str, folder: Path) -> None:
        self.running = running
        self.data = data
        self.mesh = mesh
        self.token_file = folder / "token"
        self.folder = IdentityFolder(folder / "identity")

    def keep(self, token: JoinToken | str) -> None:
        self.token_file.write_text(f"{token}\n")
        self.token_file.chmod(0o600)

    async def token(self, pattern: str = "gpu-*") -> str:
        """A token, in the node's file."""
        async with rpc.channel(f"unix:{self.data}/control.sock") as local:
            stub: Any = stubs.IdentityServiceStub(local)
            request = wire.CreateTokenRequest(role=wire.MEMBER_ROLE_NODE, name_pattern=pattern)
            made = str((await stub.CreateToken(request)).token)
        self.keep(made)
        return made

    def membership(self, clock: Clock, *proxies: str) -> Membership:
        return Membership(self.folder, NODE, proxies or (self.mesh,), self.token_file, clock, lambda: 0.5)

    async def refused(self, *proxies: str) -> InfernoError:
        made = self.membership(SystemClock(), *proxies)
        made.begin()
        with pytest.raises(InfernoError) as error:
            await made.join()
        assert not self.folder.exists
        return error.value

    def certificate(self) -> Facts:
        return check_identity(self.folder, time.time())

    async def phases(self) -> dict[str, int]:
        async with rpc.channel(f"unix:{self.data}/control.sock") as local:
            stub: Any = mesh_stubs.MeshServiceStub(local)
            answer = await stub.ListNodes(mesh_wire.ListNodesRequest())
            return {one.node.node_id: one.phase for one in answer.nodes}


@pytest_asyncio.fixture
async def mesh(socket_dir: Path, tmp_path: Path) -> AsyncIterator[World]:
    port = free_port()
    flags = ("--mesh-port", str(port), "--certificate-lifetime", "3600")
    async with proxy(socket_dir / "data", *flags) as running:
        yield World(running, socket_dir / "data", f"127.0.0.1:{port}", tmp_path)


@asynccontextmanager
async def registered(world: World, links: Latest[Link | None], states: Latest[Revised]) -> AsyncIterator[Registrar]:
    """A registrar of the node, once the proxy has taken it."""
    made = Registrar(world.mesh, Identity(NODE, 7, Hardware(1, 1), "0.1.0"), states, lambda: None, SystemClock(), links)
    running = asyncio.create_task(made.run())
    try:
        await made.view.wait_for(lambda view: view.connected)
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_node_joins_registers_and_renews_without_losing_its_place(mesh: World) -> None:
    token = await mesh.token()
    clock = ManualClock(wall=time.time())
    member = mesh.membership(clock)
    member.begin()
    assert member.link.value is None
    await member.join()
    first = mesh.certificate()
    assert first.names[0] == f"spiffe://inferno/node/{NODE}"
    states = Latest(Revised(1, STATE))
    async with registered(mesh, member.link, states) as registrar:
        seen: list[bool] = []

        async def follow() -> None:
            async for view in registrar.view.watch():
                seen.append(view.connected)  # noqa: PERF401 - it has no end

        following, renewing = asyncio.create_task(follow()), asyncio.create_task(member.run())
        before = member.link.value
        await clock.advance(1790)
        assert member.link.value is before
        await clock.advance(600)
        await member.link.wait_for(lambda link: link is not before)
        assert mesh.certificate().serial != first.serial
        states.set(Revised(2, STATE))
        await registrar.view.wait_for(lambda view: view.applied_revision == 2)
        following.cancel()
        renewing.cancel()
        assert all(seen)
        assert await mesh.phases() == {NODE: mesh_wire.NODE_PHASE_SERVING}
    # What the node has done cannot be done again with what it left.
    mesh.folder.path.rename(mesh.folder.path.with_name("gone"))
    refused = await mesh.refused()
    assert isinstance(refused, Unauthenticated)
    assert refused.reason == "TOKEN_USED"
    assert JoinToken.parse(token).secret not in refused.sentence()


async def test_who_cannot_join_is_told_why(mesh: World) -> None:
    wrong = JoinToken.make("0" * 64)
    mesh.keep(wrong)
    error = await mesh.refused()
    assert isinstance(error, Denied)
    assert error.reason == "WRONG_AUTHORITY"
    pin = AuthorityFolder(mesh.data / "authority").read(time.time()).pin
    mesh.keep(JoinToken(wrong.token_id, wrong.secret, pin))
    assert (await mesh.refused()).reason == "TOKEN_WRONG"
    await mesh.token("cpu-*")
    assert (await mesh.refused()).reason == "TOKEN_OF_ANOTHER"
    mesh.token_file.chmod(0o644)
    error = await mesh.refused()
    assert isinstance(error, InvalidInput)
    assert error.reason == "TOKEN_EXPOSED"
    token = JoinToken.parse(await mesh.token())
    (mesh.data / "authority" / "ca.pem").write_text("damaged")
    with pytest.raises(Unavailable, match="speaks no TLS"):
        await join([mesh.running.endpoint], token, NODE, make_request())
    with pytest.raises(Unavailable, match="a CA that it cannot use now"):
        await join([mesh.mesh], token, NODE, make_request())


async def test_a_node_waits_for_proxies_and_for_its_name(mesh: World) -> None:
    await mesh.token()
    before = mesh.membership(SystemClock())
    before.begin()
    await before.join()
    async with registered(mesh, before.link, Latest(Revised(1, STATE))):
        mesh.folder.path.rename(mesh.folder.path.with_name("gone"))
        await mesh.token()
        member = mesh.membership(SystemClock(), f"127.0.0.1:{free_port()}", mesh.mesh)
        member.begin()
        with capture_logs() as told:
            joining = asyncio.create_task(member.join())
            await eventually(lambda: told, 10, "it is told why the node waits")
            assert not joining.done()
            assert "does not answer over TLS (Connection refused)." in told[0]["error"]
    await joining
    assert member.link.value not in {None, before.link.value}


async def test_a_node_whose_certificate_ended_joins_again_with_a_new_token(mesh: World) -> None:
    await mesh.token()
    ca = AuthorityFolder(mesh.data / "authority").read(time.time())
    pair = issued(ca, f"node/{NODE}", now=time.time() - 3600, seconds=3660)
    identity(mesh.folder.path, ca, pair)
    clock, proxies = ManualClock(wall=time.time()), [f"127.0.0.1:{free_port()}"]
    member = Membership(mesh.folder, NODE, proxies, mesh.token_file, clock, lambda: 0.5)
    member.begin()
    old, ends = member.link.value, mesh.certificate().not_after
    assert old is not None
    with capture_logs() as told:
        running = asyncio.create_task(member.run())
        await eventually(lambda: told, 10, "nobody renews it")

        async def later(done: Callable[[], bool]) -> bool:
            """Its next try may begin at any moment: let time pass until one has ended as it should."""
            await clock.advance(1)
            return done()

        await eventually(partial(later, lambda: clock.wall() > ends), 10, "the certificate has ended")
        tries = len(told)
        await eventually(partial(later, lambda: len(told) > tries), 10, "nobody lets the node join")
        proxies[:] = [mesh.mesh]
        await eventually(partial(later, lambda: member.link.value != old), 10, "the node has joined again")
    running.cancel()
    assert {line["event"] for line in told} == {"the certificate is not renewed", "joined the mesh"}
    assert mesh.certificate().not_after > ends + 1800
