"""A proxy by itself, as ``inferno-proxy`` starts it, in front of model servers without agents."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from inferno_runtime import rpc
from inferno_runtime.notify import NotifySocket
from inferno_runtime.process import spawn, terminate

_WITHIN = 60
Metadata = Sequence[tuple[str, str]]


@asynccontextmanager
async def proxy(
    folder: Path, ports: Sequence[int], models: Sequence[str], config: str, metadata: Metadata = ()
) -> AsyncIterator[Any]:
    """Start a proxy before the servers on these ports, of which there may be none; yield what it said of itself once it
    serves all models to callers with this metadata."""
    folder.mkdir(exist_ok=True)
    settings = folder / "inferno.yaml"
    settings.write_text(config, encoding="utf-8")
    backends = ",".join(f"127.0.0.1:{port}" for port in ports)
    flags = ["--port", "0", "--data-dir", str(folder), "--config", str(settings)]
    flags += ["--backends", backends] if ports else []
    async with NotifySocket() as listening:
        process = await spawn(
            [str(Path(sys.executable).with_name("inferno-proxy")), *flags, "--log-level", "error"],
            env={**os.environ, "NOTIFY_SOCKET": listening.path},
            # In a session of its own: the kernel shares the CPUs between sessions.
            new_group=True,
        )
        try:
            async with asyncio.timeout(_WITHIN):
                said: Mapping[str, str] = {}
                while said.get("READY") != "1":
                    _, said = await listening.receive()
                facts = json.loads(said["X_INFERNO"])
                await _until_served(facts["endpoint"], models, metadata)
            yield facts
        finally:
            await terminate(process, grace=15)


async def _until_served(endpoint: str, models: Sequence[str], metadata: Metadata) -> None:
    async with rpc.channel(endpoint) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for model in models:
            while True:
                try:
                    request = service_pb2.ModelInferRequest(model_name=model, id="0")
                    await stub.ModelInfer(request, timeout=1, metadata=metadata)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)
