"""TLS on the public port and the port for members of the mesh, with a real Envoy in front of a real control plane."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from inferno.mesh.v1 import mesh_service_pb2 as mesh_wire
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_stubs
from inferno_runtime import rpc
from inferno_runtime.identity.authority import PROXY_HOST, Authority, Grant, KeyPair, make_request
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.identity.names import MeshName, Role
from inferno_runtime.process import free_port
from tests.certificates import authority, issued, written
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.waiting import eventually

_HEALTH = "/inferno.health.v1.HealthService/GetHealth"
_LIVE = "/inference.GRPCInferenceService/ServerLive"


@dataclass(frozen=True, slots=True)
class World:
    """A proxy whose public port speaks TLS and knows clients by certificates, and that has a mesh port."""

    folder: Path
    running: Proxy
    given: Path
    public_ca: Authority
    mesh_port: int

    @property
    def mesh_ca(self) -> Authority:
        return AuthorityFolder(self.folder / "authority").open("inferno", time.time())

    def public(self, pair: KeyPair | None) -> grpc.aio.Channel:
        return _channel(self.running.endpoint, self.public_ca, pair, "localhost")

    def mesh(self, pair: KeyPair | None) -> grpc.aio.Channel:
        return _channel(f"127.0.0.1:{self.mesh_port}", self.mesh_ca, pair, PROXY_HOST)

    def rotate(self) -> str:
        """Put another pair in the place of the one there, by two plain writes; its serial."""
        pair = _pair(self.public_ca, "", "localhost")
        written(self.given, pair)
        return f"{x509.load_pem_x509_certificate(pair.certificate).serial_number:x}"

    async def shown(self) -> str:
        """The serial of the certificate that the public port shows."""
        context = ssl.create_default_context(cadata=self.public_ca.trusted.decode())
        host, _, port = self.running.endpoint.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return f"{x509.load_der_x509_certificate(der).serial_number:x}"

    def turned_away(self) -> set[str]:
        """Why connections were refused, as the audit log has it."""
        lines = [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]
        return {one["refused"].partition(":")[0] for one in lines if one["action"] == "CONNECT"}

    async def told(self, kind: str) -> str:
        """Wait for an event of a kind; its message."""
        async with asyncio.timeout(60), rpc.channel(f"unix:{self.folder}/control.sock") as local:
            events: Any = mesh_stubs.MeshServiceStub(local).WatchEvents(mesh_wire.WatchEventsRequest())
            async for answer in events:
                if answer.event.kind == kind:
                    return str(answer.event.message)
        raise AssertionError("the events ended")


def _pair(by: Authority, name: str, *hosts: str) -> KeyPair:
    return issued(by, name, *hosts, now=time.time() - 1)


def _channel(where: str, ca: Authority, pair: KeyPair | None, host: str) -> grpc.aio.Channel:
    key, certificate = (pair.key, pair.certificate) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.trusted, key, certificate)
    options: Any = [("grpc.ssl_target_name_override", host)]
    return rpc.channel(where, options, credentials)


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    given, ca, mesh_port = folder / "given", authority(time.time() - 1), free_port()
    given.mkdir()
    files = written(given, _pair(ca, "", "localhost"))
    (given / "clients.pem").write_bytes(ca.trusted)
    flags = ["--tls-certificate", str(files.certificate), "--tls-key", str(files.key)]
    flags += ["--client-ca", str(given / "clients.pem"), "--mesh-port", str(mesh_port)]
    async with proxy(folder / "data", *flags) as running:
        yield World(folder / "data", running, given, ca, mesh_port)


async def live(channel: grpc.aio.Channel) -> grpc.StatusCode:
    """How a call that asks for life ends."""
    return await status(channel, _LIVE)


async def status(channel: grpc.aio.Channel, method: str) -> grpc.StatusCode:
    """How a call without a body ends."""
    make: Any = channel.unary_unary(method)
    code: grpc.StatusCode = await make(b"", timeout=60).code()
    return code


async def nodes(channel: grpc.aio.Channel) -> grpc.StatusCode:
    """How a call that reads the state of the mesh ends."""
    call: Any = mesh_stubs.MeshServiceStub(channel).ListNodes(mesh_wire.ListNodesRequest(), timeout=60)
    code: grpc.StatusCode = await call.code()
    return code


async def test_each_door_lets_in_whom_it_knows(socket_dir: Path) -> None:
    async with world(socket_dir) as made:
        mesh_ca, other = made.mesh_ca, authority(time.time() - 1)
        async with made.public(_pair(made.public_ca, "client/shop")) as channel:
            assert await live(channel) is grpc.StatusCode.OK
        ended = issued(made.public_ca, "client/shop", now=time.time() - 7200, seconds=3600)
        for pair in (None, ended, _pair(other, "client/shop"), _pair(mesh_ca, "client/shop")):
            async with made.public(pair) as channel:
                assert await live(channel) is grpc.StatusCode.UNAVAILABLE
        async with rpc.channel(made.running.endpoint) as channel:
            assert await live(channel) is grpc.StatusCode.UNAVAILABLE
        # The port for members serves no models, and who has no certificate may only join.
        async with made.mesh(_pair(mesh_ca, "node/a")) as channel:
            assert await live(channel) is grpc.StatusCode.UNIMPLEMENTED
            assert await nodes(channel) is grpc.StatusCode.OK
        async with made.mesh(None) as channel:
            assert await status(channel, _HEALTH) is grpc.StatusCode.UNAUTHENTICATED
        for stranger in (_pair(other, "node/a"), _pair(mesh_ca, "", "server.example")):
            async with made.mesh(stranger) as channel:
                assert await nodes(channel) is grpc.StatusCode.UNAVAILABLE
        # Whom Envoy turns away, no service has seen: they are noted all the same, each reason once.
        expected = {"NO_CREDENTIAL", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNTRUSTED"}
        await eventually(lambda: expected <= made.turned_away(), 10, "a line of the audit log for each")
        request = make_request()
        foreign = Grant(MeshName("elsewhere", Role.NODE, "a"))
        async with made.mesh(KeyPair(mesh_ca.sign(request.csr, foreign, time.time()), request.key)) as channel:
            assert await nodes(channel) is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(ssl.SSLError):
            await _connect_with(made.mesh_port, ssl.TLSVersion.TLSv1_1)
        await _connect_with(made.mesh_port, ssl.TLSVersion.TLSv1_2)


async def _connect_with(port: int, newest: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # That it is old is why it is tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.close()


async def test_new_files_are_shown_without_a_dropped_call_and_bad_ones_never(socket_dir: Path) -> None:
    async with world(socket_dir) as made, made.public(_pair(made.public_ca, "client/shop")) as channel:
        codes: list[grpc.StatusCode] = []

        async def calling() -> None:
            while True:
                # A channel of its own for every other call: connections are made while certificates change.
                async with made.public(_pair(made.public_ca, "client/shop")) as fresh:
                    codes.append(await live(fresh))
                codes.append(await live(channel))

        async with asyncio.TaskGroup() as group:
            lanes = [group.create_task(calling()) for _ in range(2)]
            for _ in range(3):
                serial = made.rotate()
                await eventually(partial(_is, made, serial), 10, "the new certificate is shown")
            (made.given / "key.pem").write_bytes(_pair(made.public_ca, "", "localhost").key)
            assert "does not belong to the certificate" in await made.told("CERTIFICATE_REFUSED")
            assert await made.shown() == serial
            count = len(codes)
            await eventually(lambda: len(codes) > count + 4, 10, "more calls")
            for lane in lanes:
                lane.cancel()
        assert set(codes) == {grpc.StatusCode.OK}


async def _is(made: World, serial: str) -> bool:
    return await made.shown() == serial
