"""Malformed messages of every protocol at the public port: row 29."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import grpc
import psutil

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import ask
from benchmarks.faults.view import after, mesh_of, settled
from benchmarks.garbage import Garbage

SECONDS = float(os.environ.get("INFERNO_FUZZ_SECONDS", "60"))
_WORKERS = 6
_MIB = 1024 * 1024
_UNARY = (
    "inference.GRPCInferenceService/ModelInfer",
    "inference.GRPCInferenceService/ModelMetadata",
    "inference.GRPCInferenceService/RepositoryIndex",
    "inferno.registration.v1.RegistrationService/Announce",
    "inferno.registration.v1.RegistrationService/Deregister",
    "inferno.mesh.v1.MeshService/ListNodes",
    "inferno.mesh.v1.MeshService/DrainNode",
    "inferno.health.v1.HealthService/GetHealth",
    "inferno.governance.v1.GovernanceService/GetCostReport",
    "grpc.health.v1.Health/Check",
    "no.such.Service/Method",
)
_STREAMS = (
    "inference.GRPCInferenceService/ModelStreamInfer",
    "inferno.registration.v1.RegistrationService/Register",
    "inferno.governance.v1.GovernanceService/StreamTelemetry",
    "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
)
_REST = (
    "/register",
    "/v2/repository/index",
    "/v2/models/whoami/infer",
    "/v2/models/whoami/generate",
    "/v2/models/whoami/versions/9/infer",
    "/v2/models/%ff%00/infer",
    "/v2/models/stats",
    "/register/%2e%2e%2f",
)
# A defect shows as one of these; a refusal never does. What a model server says of a message is its own: Triton has
# INTERNAL and 500 for much that its caller did wrong. The last one is what this client says when a call ends under it.
_WRONG = {"UNKNOWN", "INTERNAL", "DATA_LOSS", "500"}
_NOT_OURS = ("GRPCInferenceService/Model", "/v2/models/whoami/", "Internal error from Core")


class Fuzzer:
    """Sends garbage in every way it knows; ``answers`` counts what came back, ``wrong`` what should not have."""

    def __init__(self, endpoint: str, channel: grpc.aio.Channel, session: aiohttp.ClientSession) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self._endpoint = endpoint
        self._channel = channel
        self._session = session

    async def run(self, seed: int, seconds: float) -> None:
        """One worker."""
        garbage, until = Garbage(seed), time.monotonic() + seconds
        ways: Sequence[Callable[[Garbage], Awaitable[None]]] = (self._unary, self._stream, self._rest, self._raw)
        while time.monotonic() < until:
            await garbage.chance.choice(ways)(garbage)

    def _came(self, kind: str, status: str, what: str) -> None:
        self.answers[f"{kind} {status}"] += 1
        if status in _WRONG and not any(part in what for part in _NOT_OURS):
            self.wrong[f"{what} {status}"] += 1

    async def _unary(self, garbage: Garbage) -> None:
        method = garbage.chance.choice(_UNARY)
        try:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(f"/{method}")
            await call(garbage.message(), timeout=5)
        except grpc.aio.AioRpcError as error:
            self._came("gRPC", error.code().name, f"{method} ({error.details()})")
        else:
            self._came("gRPC", "OK", method)

    async def _stream(self, garbage: Garbage) -> None:
        method = garbage.chance.choice(_STREAMS)
        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(f"/{method}")
        try:
            async for _ in call(iter([garbage.message() for _ in range(3)]), timeout=0.5):
                pass
        except grpc.aio.AioRpcError as error:
            self._came("stream", error.code().name, f"{method} ({error.details()})")
        else:
            self._came("stream", "OK", method)

    async def _rest(self, garbage: Garbage) -> None:
        path, body = garbage.chance.choice(_REST), garbage.document()
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.post(f"http://{self._endpoint}{path}", data=body) as answer:
                self._came("REST", str(answer.status), f"{path} {(await answer.read())[:200]!r}")

    async def _raw(self, garbage: Garbage) -> None:
        host, _, port = self._endpoint.rpartition(":")
        data = garbage.chance.choice((garbage.http1, garbage.http2, lambda: garbage.chance.randbytes(500)))()
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(data)
                async with asyncio.timeout(0.1):
                    answer = await reader.read(4096)
                status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1") else "frames"
                self._came("raw", status if answer else "closed", repr(data[:100]))
            finally:
                writer.close()


async def fuzzed(cloud: Cloud, path: Route) -> Measured:
    """Row 29: garbage from six workers, for a minute unless ``INFERNO_FUZZ_SECONDS`` says otherwise.

    Answers that tell of a defect, and processes that ended, count as failed requests.
    """
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        known = set(await view.nodes())
        watched = {"Envoy": cloud.envoy(), "control plane": cloud.control_plane()}
        family = [*watched.values(), *cloud.tritons(), *cloud.agents()]
        options = [("grpc.enable_http_proxy", 0)]
        async with (
            load(path.target, env=path.env) as running,
            grpc.aio.insecure_channel(cloud.endpoint, options=options) as channel,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
        ):
            fuzzer = Fuzzer(cloud.endpoint, channel, session)
            # What a first garbage allocates once is no growth.
            await _work(fuzzer, 100, SECONDS / 6)
            before = {name: one.memory_info().rss for name, one in watched.items()}
            await _work(fuzzer, 200, SECONDS * 5 / 6)
            grown = {name: (one.memory_info().rss - before[name]) / _MIB for name, one in watched.items()}
            report = await after(running, 1)
        for node_id in set(await view.nodes()) - known:
            await asyncio.to_thread(ask, "DELETE", f"http://{cloud.endpoint}/register/{node_id}")
    ended = [each for each in family if not each.is_running() or each.status() == psutil.STATUS_ZOMBIE]
    report.failed += sum(fuzzer.wrong.values()) + len(ended)
    note = f"{sum(fuzzer.answers.values())} messages, " + ", ".join(
        f"{v} {k}" for k, v in fuzzer.answers.most_common(12)
    )
    note += f"; {len(ended)} processes ended; " + ", ".join(f"{name} {mib:+.0f} MiB" for name, mib in grown.items())
    if fuzzer.wrong:
        note += "; wrong: " + ", ".join(f"{count} x {what}" for what, count in fuzzer.wrong.most_common(8))
    return Measured(report, grown=max(grown.values()), note=note)


async def _work(fuzzer: Fuzzer, seed: int, seconds: float) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(_WORKERS):
            group.create_task(fuzzer.run(seed + number, seconds))
