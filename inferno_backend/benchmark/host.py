"""A Triton to measure: one of our own that lives as long as the measurement, or one that somebody else runs."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as wire
from tritonclient.grpc import service_pb2_grpc

from inferno_backend.node import ModelState
from inferno_backend.triton import repository
from inferno_backend.triton.client import TritonClient
from inferno_backend.triton.command import Ports
from inferno_backend.triton.installation import Installation
from inferno_backend.triton.process import Place
from inferno_backend.triton.server import Life, OwnServer
from inferno_runtime import rpc
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, NotFound, TimedOut, Unavailable

_LOOK = 0.05
_SECONDS = 5.0
_END_SECONDS = 3.0


class Host:
    """A Triton that answers at ``address``; an async context manager is :func:`own` or :func:`attached`."""

    def __init__(self, address: str, channel: grpc.aio.Channel, client: TritonClient, life: Life | None) -> None:
        self.address = address
        self.client = client
        self.life = life
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    async def metadata(self, model: str) -> Any:
        """The model's ``ModelMetadataResponse``.

        Raises:
            InfernoError: Triton does not tell.
        """
        return await self._ask("ModelMetadata", wire.ModelMetadataRequest(name=model))

    async def config(self, model: str) -> Any:
        """The ``ModelConfig`` that Triton runs the model with.

        Raises:
            InfernoError: Triton does not tell.
        """
        return (await self._ask("ModelConfig", wire.ModelConfigRequest(name=model))).config

    async def check_ready(self, model: str) -> None:
        """Refuse a model that cannot be measured.

        Raises:
            NotFound: There is none of this name; the sentence names those there are.
            Unavailable: It is not ready, with Triton's reason.
        """
        rows = await self.client.index()
        states = [row for row in rows if row.name == model]
        if not states:
            raise NotFound(
                f"There is no model {model!r}; there is {', '.join(sorted({row.name for row in rows})) or 'none'}.",
                reason="NO_MODEL",
                fix="Check --model.",
                metadata={"model": model},
            )
        if all(row.state != ModelState.READY for row in states):
            reason = next((row.reason.split("\n", 1)[0].strip() for row in states if row.reason), "it is not loaded")
            raise Unavailable(
                f"The model {model} is not ready: {reason.rstrip('.')}.",
                reason="MODEL_NOT_READY",
                fix="Correct the model, or load it first.",
                metadata={"model": model},
            )

    async def _ask(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self._stub, method)(request, timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise rpc.error_from_rpc(error, f"Triton at {self.address}") from error


@asynccontextmanager
async def attached(address: str, life: Life | None = None) -> AsyncIterator[Host]:
    """A Triton that runs already."""
    async with TritonClient(address) as client, rpc.channel(address) as channel:
        yield Host(address, channel, client, life)


@asynccontextmanager
async def own(
    found: Installation,
    models: repository.Repository,
    chosen: Sequence[str],
    clock: Clock,
    timeout: float,
    env: Mapping[str, str] = os.environ,
) -> AsyncIterator[Host]:
    """A Triton of our own on free ports of loopback, with the chosen models loaded or known to be broken.

    It ends with the block, and with this process however that ends.

    Raises:
        TimedOut: It does not serve within ``timeout`` seconds.
        Unavailable: It ended; the sentence says why.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inferno-bench-")))
        leash, held = os.pipe()
        stack.callback(os.close, leash)
        stack.callback(os.close, held)
        server = OwnServer(
            found,
            Place(folder / "triton"),
            models,
            tuple(chosen),
            wanted_ports=Ports("127.0.0.1", 0, 0, 0),
            env=env,
            leash_fd=leash,
            drain_timeout=_END_SECONDS,
        )
        life = await server.start()
        stack.push_async_callback(_end, life)
        host = await stack.enter_async_context(attached(life.endpoints.grpc, life))
        following = asyncio.create_task(life.gone())
        try:
            await _serving(host, life, following, chosen, clock, timeout)
            yield host
        finally:
            following.cancel()


async def _end(life: Life) -> None:
    """Nothing that runs is worth waiting for: what was measured is measured. The guard clears up after it."""
    life.kill()
    await life.stop()


async def _serving(
    host: Host, life: Life, gone: asyncio.Task[None], chosen: Sequence[str], clock: Clock, timeout: float
) -> None:
    """Wait until Triton has loaded what it was told to, or says why it cannot."""
    deadline = clock.monotonic() + timeout
    while not await _settled(host, chosen):
        if gone.done():
            raise Unavailable(
                (await life.ended()).cause,
                reason="TRITON_ENDED",
                fix="Run the node with this repository to see what Triton says: inferno backend.",
            )
        if clock.monotonic() > deadline:
            raise TimedOut(
                f"Triton has not loaded {', '.join(chosen)} within {timeout:g} s.",
                reason="START_TIMEOUT",
                fix="Give it longer with --start-timeout.",
            )
        await clock.sleep(_LOOK)


async def _settled(host: Host, chosen: Sequence[str]) -> bool:
    try:
        if not await host.client.answers("", _SECONDS):
            return False
        rows = {row.name: row for row in await host.client.index()}
    except InfernoError as error:
        if error.temporary:
            return False
        raise
    over = (ModelState.READY, ModelState.UNAVAILABLE)
    return all(name in rows and rows[name].state in over for name in chosen)
