"""Governators: inside the test, and as a process that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from inferno.governance.v1.governance_service_pb2_grpc import add_GovernanceServiceServicer_to_server
from inferno_governator.app import serve
from inferno_governator.governance_service import GovernanceService
from inferno_governator.settings import GovernatorSettings
from inferno_runtime import process, rpc
from inferno_runtime.clock import Clock
from inferno_runtime.lifecycle import Stop
from inferno_runtime.notify import NotifySocket
from tests.integration.inferno_governator.nodes import Client, connected


class StoppableClient(Client):
    """A connection to a governator in this process."""

    def __init__(self, channel: grpc.aio.Channel, stop: Stop) -> None:
        super().__init__(channel)
        self._stop = stop

    def stop(self) -> None:
        """Ask the governator to end."""
        self._stop.request("a test asks for it")


@asynccontextmanager
async def governator(
    database_url: str, folder: Path, *, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[StoppableClient]:
    """A governator in this process, on a Unix socket in ``folder``, and a connection to it."""
    address = f"unix:{folder / 'governator'}"
    stop = Stop()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(GovernatorSettings(db=database_url, listen=address, **settings), stop, clock))
        async with connected(address) as client:
            try:
                async with asyncio.timeout(60):
                    await client.channel.channel_ready()
                yield StoppableClient(client.channel, stop)
            finally:
                stop.request("the test is over")


@asynccontextmanager
async def served(service: GovernanceService, folder: Path) -> AsyncIterator[Client]:
    """A service alone on a server, and a connection to it."""
    server = rpc.server()
    add_GovernanceServiceServicer_to_server(service, server)
    address = rpc.bind(server, f"unix:{folder / 'service'}")
    await server.start()
    async with connected(address) as client:
        try:
            yield client
        finally:
            await server.stop(0.2)


@dataclass
class Governator:
    """A governator process and a connection to it."""

    process: asyncio.subprocess.Process
    client: Client
    facts: str

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def governator_process(database_url: str, *options: str) -> AsyncIterator[Governator]:
    """``inferno-governator`` as a process of its own on a free port."""
    argv = [sys.executable, "-m", "inferno_governator.cli", "--db", database_url, "--listen", "127.0.0.1:0", *options]
    async with NotifySocket() as told, asyncio.timeout(60):
        child = await process.spawn(
            argv, env={**os.environ, "NOTIFY_SOCKET": told.path}, die_with_parent=signal.SIGKILL
        )
        try:
            async with asyncio.timeout(60):
                _, fields = await told.receive()
            facts = fields["X_INFERNO"]
            async with connected(_address(facts)) as client:
                yield Governator(child, client, facts)
        finally:
            await process.terminate(child, grace=10)


def _address(facts: str) -> str:
    return str(json.loads(facts)["address"])
