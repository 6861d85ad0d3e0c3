"""Malformed messages of every protocol at the public port: row 29."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import grpc
import psutil
from tritonclient.grpc import service_pb2

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import ask
from benchmarks.faults.view import after, mesh_of, settled
from inferno.registration.v1 import node_pb2
from inferno.registration.v1 import registration_service_pb2 as registration

SECONDS = float(os.environ.get("INFERNO_FUZZ_SECONDS", "60"))
_WORKERS = 6
_MIB = 1024 * 1024
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
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
_DOCUMENTS = (
    {"node_id": "no name", "grpc_address": "127.0.0.1:1", "models": ["x"], "lease_duration": "30s"},
    {"inputs": [{"name": "hold_ms", "shape": [1], "datatype": "FP32", "data": [0]}], "parameters": {"a": 1}},
    {"node": {"node_id": 7, "labels": {"a": "b"}}, "lease_duration": 1e308},
)
# A defect shows as one of these; a refusal never does. What a model server says of a message is its own: Triton has
# INTERNAL and 500 for much that its caller did wrong. The last one is what this client says when a call ends under it.
_WRONG = {"UNKNOWN", "INTERNAL", "DATA_LOSS", "500"}
_NOT_OURS = ("GRPCInferenceService/Model", "/v2/models/whoami/", "Internal error from Core")


class Garbage:
    """Malformed bytes; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - noise, not secrets

    def spoiled(self, data: bytes) -> bytes:
        """Some bytes changed, cut out, put in or repeated."""
        out = bytearray(data or b"\0")
        for _ in range(self.chance.randint(1, 6)):
            at = self.chance.randrange(len(out) + 1)
            match self.chance.randrange(5):
                case 0:
                    out[at : at + 1] = self.chance.randbytes(1)
                case 1:
                    del out[at : at + self.chance.randint(1, 8)]
                case 2:
                    out[at:at] = self.chance.randbytes(self.chance.randint(1, 16))
                case 3:
                    out[at:at] = b"\xff\xfe\xc3\x28"  # not UTF-8
                case _:
                    out[at:at] = bytes(out[at : at + 64]) * self.chance.randint(1, 50)
        return bytes(out)

    def message(self) -> bytes:
        """A protobuf message that is not quite one."""
        infer = service_pb2.ModelInferRequest(model_name=self.chance.choice(("whoami", "repeat", "none", "")))
        infer.inputs.add(name="hold_ms", datatype="FP32", shape=[1]).contents.fp32_contents.append(0)
        node = node_pb2.Node(node_id="no name", grpc_address="127.0.0.1:1", incarnation=1)
        whole = self.chance.choice((infer, registration.RegisterRequest(node=node, revision=1))).SerializeToString()
        match self.chance.randrange(4):
            case 0:
                return self.chance.randbytes(self.chance.randint(0, 2000))
            case 1:
                return b"\x0a\x04\xff\xfe\xc3\x28" + whole
            case 2:
                return b"\x12\xff\xff\xff\xff\x0f" + whole  # a field of 4 GiB
            case _:
                return self.spoiled(whole)

    def document(self) -> bytes:
        """A JSON document that is not quite one."""
        whole = json.dumps(self.chance.choice(_DOCUMENTS)).encode()
        match self.chance.randrange(4):
            case 0:
                return b"[" * self.chance.randint(1, 100_000)
            case 1:
                return whole.replace(b'"', b"\xff", 1)
            case 2:
                return b'{"node_id": ' + b"9" * self.chance.randint(1, 10_000) + b"}"
            case _:
                return self.spoiled(whole)

    def http1(self) -> bytes:
        """A request of HTTP/1 that is not quite one."""
        whole = b"POST /v2/models/whoami/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
        match self.chance.randrange(5):
            case 0:
                return whole.replace(b"content-length: 2", b"content-length: -1")
            case 1:
                return whole.replace(b"host: x", b"host: x\r\ntransfer-encoding: chunked")
            case 2:
                return whole.replace(b"host: x", b"x: " + b"a" * self.chance.randint(1, 200_000))
            case 3:
                return whole.replace(b"host: x", b"\r\n".join([b"a: b"] * self.chance.randint(1, 500)))
            case _:
                return self.spoiled(whole)

    def http2(self) -> bytes:
        """Frames of HTTP/2 at random behind a preface."""
        out = bytearray(_PREFACE)
        for _ in range(self.chance.randint(1, 50)):
            body = self.chance.randbytes(self.chance.randint(0, 100))
            length = len(body) if self.chance.random() < 0.9 else self.chance.getrandbits(24)
            stream = self.chance.choice((0, 1, 3, 2, self.chance.getrandbits(31)))
            kind = self.chance.randrange(12)
            out += length.to_bytes(3) + bytes((kind, self.chance.getrandbits(8))) + stream.to_bytes(4) + body
        return bytes(out)


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
