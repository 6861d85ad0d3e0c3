"""Nodes that send telemetry, and what they send."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc as wire_grpc
from inferno.governance.v1.telemetry_pb2 import DeviceSample, ModelSample, NodeFacts, Sample, TelemetryBatch
from inferno_runtime import rpc
from inferno_runtime.rpc import error_from_rpc

# 3.60 dollars an hour are 1,000 micro-dollars a second.
FACTS = NodeFacts(price_micros_per_hour=3_600_000, region="eu-1", device="cpu")


def batch(
    sequence: int,
    node: str = "node-1",
    *,
    incarnation: int = 1,
    at: float | None = None,
    requests: int = 1,
    facts: NodeFacts | None = None,
    dropped: int = 0,
) -> TelemetryBatch:
    """One second of a node: a model that did ``requests`` requests in half of it, and the CPU."""
    end = Timestamp()
    end.FromMilliseconds(int((at if at is not None else time.time()) * 1000))
    window = Duration(seconds=1)
    model = ModelSample(
        model="m",
        version="1",
        requests=requests,
        inferences=2 * requests,
        executions=requests,
        request_micros=3_000 * requests,
        queue_micros=1_000 * requests,
        compute_micros=500_000,
    )
    device = DeviceSample(device_id="cpu", kind="cpu", utilization=0.5, memory_used_bytes=1, memory_total_bytes=2)
    return TelemetryBatch(
        node_id=node,
        incarnation=incarnation,
        sequence=sequence,
        samples=[Sample(time=end, window=window, model=model), Sample(time=end, window=window, device=device)],
        facts=facts,
        dropped_samples=dropped,
    )


class Sending:
    """An open telemetry stream."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, *batches: TelemetryBatch) -> None:
        """Send batches; once the governator has ended the stream the rest is left out."""
        for each in batches:
            if self._call.done():
                return
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await self._call.write(wire.StreamTelemetryRequest(batch=each))

    async def acknowledged(self, sequence: int) -> wire.StreamTelemetryResponse:
        """Wait until ``sequence`` is acknowledged."""
        while True:
            answer = await self.receive()
            if answer.acknowledged_sequence >= sequence:
                return answer

    async def receive(self) -> wire.StreamTelemetryResponse:
        """The next acknowledgement; an error of the stream is raised as :class:`InfernoError`."""
        answer = await self._next()
        assert answer is not None, "the stream is over"
        return answer

    async def _next(self) -> wire.StreamTelemetryResponse | None:
        try:
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the governator") from error
        if answer is grpc.aio.EOF:
            return None
        assert isinstance(answer, wire.StreamTelemetryResponse)
        return answer

    async def done(self) -> None:
        await self._call.done_writing()

    async def rest(self) -> list[int]:
        """What is still acknowledged until the stream ends; an error of the stream is raised."""
        rest = []
        while (answer := await self._next()) is not None:
            rest.append(answer.acknowledged_sequence)
        return rest


class Client:
    """A connection to a governator."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._stub: Any = wire_grpc.GovernanceServiceStub(channel)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Sending]:
        call = self._stub.StreamTelemetry()
        try:
            yield Sending(call)
        finally:
            call.cancel()

    async def store(self, batches: Iterable[TelemetryBatch]) -> None:
        """Send batches and wait until the last is acknowledged."""
        sent = list(batches)
        async with self.stream() as stream, asyncio.timeout(60):
            await stream.send(*sent)
            await stream.acknowledged(sent[-1].sequence)

    async def report(self, start: float | None = None, end: float | None = None) -> wire.GetCostReportResponse:
        request = wire.GetCostReportRequest()
        if start is not None:
            request.start.FromMilliseconds(int(start * 1000))
        if end is not None:
            request.end.FromMilliseconds(int(end * 1000))
        try:
            answer = await self._stub.GetCostReport(request, timeout=60)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, "the governator") from error
        assert isinstance(answer, wire.GetCostReportResponse)
        return answer

    async def requests(self) -> int:
        """How many requests are billed in the last hours."""
        now = time.time()
        return sum(line.requests for line in (await self.report(now - 7200, now + 60)).lines)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    async with rpc.channel(address) as channel:
        yield Client(channel)
