"""Whose telemetry the governator takes: by the headers that Envoy sets, and through a real proxy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc as wire_grpc
from inferno_runtime import rpc
from inferno_runtime.errors import Denied, InfernoError, Unauthenticated
from inferno_runtime.identity.authority import PROXY_HOST, Authority
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from inferno_runtime.process import free_port
from inferno_runtime.rpc import error_from_rpc
from tests.certificates import issued
from tests.integration.inferno_governator.governators import governator
from tests.integration.inferno_governator.nodes import batch
from tests.integration.inferno_proxy.proxies import proxy

Headers = tuple[tuple[str, str], ...]
MESH: Headers = ((DOOR, "mesh"),)


def member(name: str) -> Headers:
    return (*MESH, (CERTIFICATE, f"Hash=00;URI=spiffe://inferno/{name}"))


async def acknowledged(channel: grpc.aio.Channel, *nodes: str, headers: Headers = ()) -> list[str]:
    """The nodes whose batches are acknowledged; what ends the stream is raised."""
    stub: Any = wire_grpc.GovernanceServiceStub(channel)
    call = stub.StreamTelemetry(metadata=headers)
    taken = []
    try:
        for node in nodes:
            await call.write(wire.StreamTelemetryRequest(batch=batch(1, node)))
            taken.append((await call.read()).node_id)
        await call.done_writing()
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, "the governator") from error
    return taken


async def test_a_node_sends_its_own_telemetry_only(sqlite_url: str, socket_dir: Path) -> None:
    async with governator(sqlite_url, socket_dir) as client:
        for headers in ((), ((DOOR, "open"),), member("operator/ann")):
            assert await acknowledged(client.channel, "a", "b", headers=headers) == ["a", "b"]
        assert await acknowledged(client.channel, "a", headers=member("node/a")) == ["a"]
        wrong: list[tuple[Headers, type[InfernoError], str]] = [
            (member("node/a"), Denied, "Node 'a' may not send telemetry as 'b'."),
            (member("proxy/p"), Denied, "A proxy p may not send telemetry."),
            (MESH, Unauthenticated, "To send telemetry, say who you are."),
        ]
        for headers, kind, said in wrong:
            with pytest.raises(kind) as refused:
                await acknowledged(client.channel, "b", headers=headers)
            assert refused.value.message == said
        stub: Any = wire_grpc.GovernanceServiceStub(client.channel)
        for headers, code in (
            (member("node/a"), grpc.StatusCode.OK),
            (member("client/c"), grpc.StatusCode.PERMISSION_DENIED),
            (MESH, grpc.StatusCode.UNAUTHENTICATED),
        ):
            assert await stub.GetCostReport(wire.GetCostReportRequest(), metadata=headers).code() is code


async def test_the_mesh_port_says_whose_certificate_it_saw(sqlite_url: str, socket_dir: Path) -> None:
    port, data = free_port(), socket_dir / "data"
    flags = ("--mesh-port", str(port), "--governator", f"unix:{socket_dir / 'governator'}")
    async with governator(sqlite_url, socket_dir), proxy(data, *flags):
        ca: Authority = AuthorityFolder(data / "authority").read(time.time())
        pair = issued(ca, "node/a", now=time.time() - 1)
        credentials = grpc.ssl_channel_credentials(ca.trusted, pair.key, pair.certificate)
        options = [("grpc.ssl_target_name_override", PROXY_HOST)]
        async with rpc.channel(f"127.0.0.1:{port}", options, credentials) as channel:
            assert await acknowledged(channel, "a") == ["a"]
            # Headers of its own say nothing.
            with pytest.raises(Denied, match="Node 'a' may not send telemetry as 'b'"):
                await acknowledged(channel, "b", headers=member("node/b"))
