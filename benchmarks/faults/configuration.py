"""The operator makes mistakes: row 32."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from ruamel.yaml import YAML
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import RECOVERY, after, mesh_of, settled
from benchmarks.load import whoami_request
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc

_OPTIONS = [("grpc.enable_http_proxy", 0)]
_LATE = "late"
# Valid as a number of seconds; Envoy takes no duration of that length, and then no routes at all.
_TOO_LONG = 10_000_000_000


async def bad_settings(cloud: Cloud, path: Route) -> Measured:
    """Row 32: settings with an unknown key, then settings that Envoy refuses; after that every node gets a new model.

    ``detected`` is how long the second kind takes to be refused (without healing: to be taken over), ``recovered`` how
    long after its loading the new model answers; None: not within five seconds.
    """
    file = cloud.data_dir / "inferno.yaml"
    good = file.read_text()
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        addresses = [one.node.grpc_address for one in (await view.nodes()).values()]
        async with load(path.target, env=path.env) as running:
            try:
                mistaken, _ = await _read_again(cloud, f"{good}  modells: {{}}\n")
                poisoned, detected = await _read_again(cloud, _poisoned(good))
                async with _new_model(cloud, addresses):
                    recovered = await _answers(path.target, _LATE)
                    report = await after(running, 1)
            finally:
                await _read_again(cloud, good)
    named = sum(f"{file}:" in said for said in (mistaken, poisoned))
    return Measured(report, detected=detected, recovered=recovered, note=f"{named} of 2 mistakes named with their line")


async def _read_again(cloud: Cloud, text: str) -> tuple[str, float]:
    """Write the settings and have them read; what the mesh says of them, and after how many seconds."""
    (cloud.data_dir / "inferno.yaml").write_text(text)
    since, began = time.time(), time.monotonic()
    cloud.process.send_signal(signal.SIGHUP)
    async with grpc.aio.insecure_channel(cloud.endpoint, options=_OPTIONS) as channel:
        stub = mesh_service_pb2_grpc.MeshServiceStub(channel)
        async for answer in stub.WatchEvents(mesh.WatchEventsRequest(), timeout=RECOVERY):
            event = answer.event
            if event.time.ToNanoseconds() / 1e9 > since and event.kind in ("CONFIG_REFUSED", "CONFIG_RELOADED"):
                return event.message, time.monotonic() - began
    raise TimeoutError("nothing was said of the settings")


def _poisoned(good: str) -> str:
    """The settings with a time limit for the model that Envoy does not take."""
    yaml = YAML()
    document = yaml.load(good)
    document["proxy"].setdefault("models", {}).setdefault("whoami", {})["timeout"] = _TOO_LONG
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


@asynccontextmanager
async def _new_model(cloud: Cloud, addresses: list[str]) -> AsyncIterator[None]:
    """Load one more model on every node, straight on its model server."""
    repositories = {
        Path(word.partition("=")[2])
        for server in cloud.tritons()
        for word in server.cmdline()
        if word.startswith("--model-repository=")
    }
    for repository in repositories:
        shutil.copytree(repository / "whoami", repository / _LATE, dirs_exist_ok=True)
    try:
        for address in addresses:
            async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                await stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name=_LATE), timeout=30)
        yield
        for address in addresses:
            async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                await stub.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name=_LATE), timeout=30)
    finally:
        for repository in repositories:
            shutil.rmtree(repository / _LATE)


async def _answers(target: str, model: str) -> float | None:
    """Seconds until a model answers; None after five."""
    began = time.monotonic()
    async with grpc.aio.insecure_channel(target, options=_OPTIONS) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while time.monotonic() - began < 5:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.ModelInfer(whoami_request(model, 0), timeout=1)
                return time.monotonic() - began
            await asyncio.sleep(0.02)
    return None
