"""Streams of answers whose node dies under them: row 35."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine

import aiohttp
import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, CloudError, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import after, mesh_of, settled

_MODEL = "repeat"
_ANSWERS, _PAUSE_MS = 60, 20
# Each node runs one stream at a time; the others wait for their turn there.
_STREAMS = 6
LONGEST = 30.0

BROKEN = "STREAMS_BROKEN"


async def streams_broken(cloud: Cloud, path: Route) -> Measured:
    """Row 35: kill -9 of one node under streams over gRPC, and of another under streams of server-sent events.

    A stream that ends as if it were whole, with answers missing, counts as a failed request; ``BROKEN`` among the
    statuses counts those whose caller was told.
    """
    async with (
        mesh_of(cloud) as view,
        aiohttp.ClientSession() as session,
        grpc.aio.insecure_channel(path.target) as channel,
        load(path.target, env=path.env) as running,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        kinds: dict[str, Callable[[asyncio.Event], Coroutine[None, None, str]]] = {
            "gRPC": lambda begun: over_grpc(stub, begun),
            "REST": lambda begun: _over_rest(session, cloud.endpoint, begun),
        }
        ends = {}
        for kind, stream in kinds.items():
            await settled(cloud, view)
            begun = asyncio.Event()
            streams = [asyncio.create_task(stream(begun)) for _ in range(_STREAMS)]
            async with asyncio.timeout(LONGEST):
                await begun.wait()
            # Every node that has streams is in the midst of one.
            await asyncio.sleep(_ANSWERS / 4 * _PAUSE_MS / 1000)
            cloud.tritons()[0].kill()
            ends[kind] = await asyncio.gather(*streams)
        await settled(cloud, view)
        report = await after(running, 1)
    told = Counter(f"{kind} {end}" for kind, all_of_them in ends.items() for end in all_of_them)
    broken = {kind: sum(end not in ("whole", "short") for end in each) for kind, each in ends.items()}
    if not all(broken.values()):
        raise CloudError(f"no stream of each kind was on the node that died: {dict(told)}")
    report.sent += 2 * _STREAMS
    report.failed += sum(end == "short" for each in ends.values() for end in each)
    report.statuses[BROKEN] = sum(broken.values())
    return Measured(report, note=", ".join(f"{count} {end}" for end, count in sorted(told.items())))


async def over_grpc(
    stub: service_pb2_grpc.GRPCInferenceServiceStub,
    begun: asyncio.Event,
    model: str = _MODEL,
    answers: int = _ANSWERS,
    pause_ms: float = _PAUSE_MS,
) -> str:
    """How a stream ended: whole, short, or with what its caller was told."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="count", datatype="INT32", shape=[1]).contents.int_contents.append(answers)
    request.inputs.add(name="pause_ms", datatype="FP32", shape=[1]).contents.fp32_contents.append(pause_ms)

    async def requests() -> AsyncIterator[service_pb2.ModelInferRequest]:
        yield request

    count = 0
    try:
        async for answer in stub.ModelStreamInfer(requests(), timeout=LONGEST):
            if answer.error_message:
                return "error message"
            count += 1
            begun.set()
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "whole" if count == answers else "short"


async def _over_rest(session: aiohttp.ClientSession, endpoint: str, begun: asyncio.Event) -> str:
    """As :func:`over_grpc`. A chunked body that breaks off is an error to every HTTP client."""
    url = f"http://{endpoint}/v2/models/{_MODEL}/generate_stream"
    count = 0
    try:
        async with session.post(url, json={"count": _ANSWERS, "pause_ms": _PAUSE_MS}) as answer:
            if answer.status != 200:
                return f"status {answer.status}"
            async for line in answer.content:
                if line.startswith(b"data:"):
                    count += "index" in json.loads(line[5:])
                    begun.set()
    except aiohttp.ClientPayloadError:
        return "broken off"
    return "whole" if count == _ANSWERS else "short"
