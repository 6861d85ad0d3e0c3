"""A proxyless gRPC client in a process of its own, and the servers it calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from inferno_proxy.publishing.snapshot import ResourceType, Snapshot
from inferno_runtime import process, rpc
from tests.integration.inferno_proxy.xds.world import cluster, endpoints, listener, routes, snapshot
from tests.waiting import eventually

# One call after the other; a line for each. Bytes in, bytes out, so that no generated module is needed.
_CLIENT = """
import sys, time, grpc
channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary("/test.Echo/Who")
while True:
    try:
        print("ok", call(b"", timeout=60, wait_for_ready=True).decode(), flush=True)
    except grpc.RpcError as error:
        print("failed", error.code().name, (error.details() or "").replace("\\n", " "), flush=True)
    time.sleep(0.005)
"""


def echo_snapshot(serial: int, ports: list[int], *, target: str = "model/echo/grpc") -> Snapshot:
    return snapshot(
        serial,
        (ResourceType.CLUSTER, cluster(target)),
        (ResourceType.ENDPOINT, endpoints(target, ports)),
        (ResourceType.LISTENER, listener("echo", None)),
        (ResourceType.ROUTE, routes("echo", target)),
    )


@contextlib.asynccontextmanager
async def echo_server(name: str) -> AsyncIterator[int]:
    """A gRPC server that answers with its name; yields its port."""

    async def who(_: bytes, __: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return name.encode()

    server = rpc.server()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"Who": grpc.unary_unary_rpc_method_handler(who)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = int(rpc.bind(server, "127.0.0.1:0").rpartition(":")[2])
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0.2)


@dataclass
class Proxyless:
    """What the client's calls brought."""

    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def more(self, count: int, within: float = 20.0, *, answer: str | None = None) -> None:
        start = len(self.answers)

        def enough() -> bool:
            new = self.answers[start:]
            return (len(new) if answer is None else new.count(answer)) >= count

        await eventually(enough, within, f"{count} more answers (failed: {self.failures[-3:]})")


@contextlib.asynccontextmanager
async def proxyless(control: str, target: str = "xds:///echo") -> AsyncIterator[Proxyless]:
    bootstrap = {
        "xds_servers": [
            {
                "server_uri": control,
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3", "ignore_resource_deletion"],
            }
        ],
        "node": {"id": "proxyless-1", "locality": {"zone": "z"}},
    }
    env = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)}
    child = await process.spawn(
        [sys.executable, "-c", _CLIENT, target], env=env, stdout=subprocess.PIPE, die_with_parent=signal.SIGKILL
    )
    seen = Proxyless()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(child, seen))
        try:
            yield seen
        finally:
            reading.cancel()
            await process.terminate(child, grace=2.0)


async def _read(child: asyncio.subprocess.Process, seen: Proxyless) -> None:
    assert child.stdout is not None
    async for raw in child.stdout:
        word, _, rest = raw.decode().strip().partition(" ")
        (seen.answers if word == "ok" else seen.failures).append(rest)
