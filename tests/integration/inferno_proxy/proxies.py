"""A whole proxy: the supervisor's process with its control plane and a real Envoy, as ``inferno-proxy`` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil

from inferno_runtime import rpc
from inferno_runtime.notify import NotifySocket
from inferno_runtime.process import spawn, terminate

PROGRAM = str(Path(sys.executable).with_name("inferno-proxy"))


class Proxy:
    """A running proxy; ``facts`` are what it said when it was ready."""

    def __init__(
        self, process: asyncio.subprocess.Process, facts: Mapping[str, Any], channel: grpc.aio.Channel
    ) -> None:
        self.process = process
        self.facts = facts
        self.channel = channel

    @property
    def endpoint(self) -> str:
        return str(self.facts["endpoint"])

    def children(self, word: str) -> list[psutil.Process]:
        """The supervisor's living children whose command line holds a word, oldest first."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            # A child that has just ended has no command line any more.
            with contextlib.suppress(psutil.Error):
                if word in " ".join(child.cmdline()):
                    found.append(child)
        return sorted(found, key=lambda child: child.create_time())

    def child(self, word: str) -> psutil.Process:
        """The youngest of them."""
        found = self.children(word)
        assert found, f"no child with {word!r} in its command line"
        return found[-1]


@asynccontextmanager
async def proxy(folder: Path, *flags: str, log: Path | None = None) -> AsyncIterator[Proxy]:
    """Start a proxy on a free port, wait for its readiness, and end it in order. What it writes goes into ``log``."""
    async with NotifySocket() as listening, AsyncExitStack() as stack:
        output = stack.enter_context(log.open("wb")).fileno() if log else None
        process = await spawn(
            [PROGRAM, "--port", "0", "--data-dir", str(folder), *flags],
            env={**os.environ, "NOTIFY_SOCKET": listening.path},
            stdout=output,
            stderr=output,
        )
        try:
            async with asyncio.timeout(60):
                ready: dict[str, str] = {}
                while ready.get("READY") != "1":
                    _, ready = await listening.receive()
            facts = json.loads(ready["X_INFERNO"])
            async with rpc.channel(facts["endpoint"]) as channel:
                yield Proxy(process, facts, channel)
        finally:
            await terminate(process, grace=15)
