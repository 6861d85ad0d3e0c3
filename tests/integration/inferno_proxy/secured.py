"""A whole proxy with everything that keeps others out: TLS and clients at its public port, a port for members."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
from click.testing import CliRunner, Result
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_cli.main import command
from inferno_runtime import rpc
from inferno_runtime.process import free_port
from tests.certificates import authority, issued, written
from tests.integration.inferno_proxy.proxies import Proxy, proxy
from tests.integration.inferno_proxy.signed_tokens import public_keys
from tests.integration.inferno_proxy.tritons import Served, Triton, triton

_HEAD = """
proxy:
  log_level: debug
  access_log: stdout
  jwt: {{issuer: "https://id.example", audiences: [mesh], jwks: {jwks}}}
  clients:
"""


@dataclass(frozen=True, slots=True)
class Secured:
    """``given`` is the operator's folder: settings, certificates, keys of clients; ``data`` the proxy's own; ``log``
    what it wrote. ``keys`` are the API keys in clear."""

    given: Path
    data: Path
    server: Triton
    mesh_port: int = field(default_factory=free_port)
    keys: dict[str, str] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.given / "log"

    async def inferno(self, *arguments: str, **environment: str) -> Result:
        """Run a command; nothing of the environment's says which mesh."""
        return await asyncio.to_thread(CliRunner().invoke, command, list(arguments), env=environment)

    async def client(self, name: str, more: str = "") -> None:
        """Make a key, and keep the lines that let its client in; ``more`` is of its entry."""
        file = self.given / f"{name}.key"
        result = await self.inferno("key", "create", name, "--out", str(file))
        assert result.exit_code == 0, result.output
        self.keys[name] = file.read_text().strip()
        self.lines[name] = result.stdout.removeprefix("proxy:\n  clients:\n") + more

    def configure(self, *names: str) -> Path:
        """Write settings that let these clients in."""
        settings = self.given / "inferno.yaml"
        head = _HEAD.format(jwks=json.dumps(str(self.given / "jwks.json")))
        settings.write_text(head + "".join(self.lines[name] for name in names))
        return settings


@dataclass(frozen=True, slots=True)
class Running:
    """It, once it serves."""

    made: Secured
    proxy: Proxy
    channel: grpc.aio.Channel

    @property
    def options(self) -> tuple[str, ...]:
        """How a command reaches its public port; who calls is still to be said."""
        port = self.proxy.endpoint.rpartition(":")[2]
        return ("--endpoint", f"https://localhost:{port}", "--ca", str(self.made.given / "ca.pem"))

    def as_client(self, name: str) -> tuple[str, ...]:
        """The same by one of its clients."""
        return (*self.options, "--key-file", str(self.made.given / f"{name}.key"))

    @contextlib.asynccontextmanager
    async def another(self) -> AsyncIterator[Running]:
        """The same over a connection of its own."""
        async with _connected(self.made, self.proxy) as channel:
            yield replace(self, channel=channel)

    def reload(self) -> None:
        """Have the settings read again."""
        os.kill(self.proxy.process.pid, signal.SIGHUP)

    def infer(self, model: str, credential: str, **more: Any) -> Any:
        """Begin a call with a key or token."""
        stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        said = [("authorization", f"Bearer {credential}")]
        return stub.ModelInfer(pb.ModelInferRequest(model_name=model, **more), timeout=60, metadata=said)

    async def outcome(self, model: str, credential: str) -> grpc.StatusCode:
        """How such a call ends."""
        code: grpc.StatusCode = await self.infer(model, credential).code()
        return code

    async def ends(self, model: str, credential: str, code: grpc.StatusCode) -> bool:
        """Whether it ends so."""
        return await self.outcome(model, credential) is code


@contextlib.asynccontextmanager
async def secured(given: Path, data: Path) -> AsyncIterator[Secured]:
    """Everything that is there before such a proxy starts: with an operator ``boss`` and a client ``team``, who is also
    alice and may call the model ``m`` alone, and a node that has another."""
    by = authority(time.time() - 1)
    written(given, issued(by, "", "localhost", now=time.time() - 1))
    (given / "ca.pem").write_bytes(by.trusted)
    (given / "jwks.json").write_text(public_keys())
    async with triton() as server:
        server.models = {"m": Served(), "other": Served()}
        made = Secured(given, data, server)
        await made.client("boss", "      role: operator\n")
        await made.client("team", "      subjects: [alice]\n      models: [m]\n")
        made.configure("boss", "team")
        yield made


@contextlib.asynccontextmanager
async def running(made: Secured) -> AsyncIterator[Running]:
    """Start it, and end it in order."""
    flags = ["--config", str(made.given / "inferno.yaml"), "--backends", str(made.server.address)]
    flags += ["--tls-certificate", str(made.given / "certificate.pem"), "--tls-key", str(made.given / "key.pem")]
    flags += ["--mesh-port", str(made.mesh_port)]
    async with proxy(made.data, *flags, log=made.log) as started, _connected(made, started) as channel:
        yield Running(made, started, channel)


def _connected(made: Secured, started: Proxy) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials((made.given / "ca.pem").read_bytes())
    port = started.endpoint.rpartition(":")[2]
    return rpc.channel(f"localhost:{port}", [("grpc.use_local_subchannel_pool", 1)], credentials)
