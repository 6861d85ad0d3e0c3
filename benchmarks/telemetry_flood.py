"""Nodes that send telemetry as fast as they can, more than a governator takes, and come back when it tells them to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc

from benchmarks.telemetry_ingest import AGO, METHOD, SECONDS_OF_BATCH, Encoder
from inferno.governance.v1 import governance_service_pb2 as wire
from inferno_runtime import rpc
from inferno_runtime.errors import Exhausted

# What its samples say that three models did, 37 requests a second each.
REQUESTS_OF_BATCH = 3 * 37 * SECONDS_OF_BATCH
# Batches sent ahead: with those of the other nodes more than a governator lets wait.
_AHEAD = 64
_HOUR = 3600
# What grpcio makes of a message that is written in the moment in which the other side ends the stream.
_CUT = "Internal error from Core"


@dataclass(frozen=True, slots=True)
class Flooded:
    """What became of a flood: batches written (also again) and acknowledged, streams refused with a delay, and
    those delays in seconds. ``start`` and ``end``: Unix seconds of what the batches are about."""

    written: int
    acknowledged: int
    refused: int
    least_delay: float
    most_delay: float
    start: int
    end: int


@dataclass
class _Node:
    name: str
    start: int
    written: int = 0
    acknowledged: int = 0

    def __post_init__(self) -> None:
        self.delays: list[float] = []
        self._encoder = Encoder()
        self._answered = asyncio.Event()

    async def run(self, channel: grpc.aio.Channel, until: float) -> None:
        """Send until a moment of the monotonic clock."""
        while time.monotonic() < until:
            call = channel.stream_stream(
                METHOD, request_serializer=bytes, response_deserializer=wire.StreamTelemetryResponse.FromString
            )(self._batches(until))
            try:
                async for answer in call:
                    self.acknowledged = max(self.acknowledged, answer.acknowledged_sequence)
                    self._answered.set()
            except grpc.aio.AioRpcError as error:
                if error.details() == _CUT:
                    continue
                failed = rpc.error_from_rpc(error, "the governator")
                if not isinstance(failed, Exhausted) or failed.retry_after is None:
                    raise failed from error
                self.delays.append(failed.retry_after)
                await asyncio.sleep(failed.retry_after)

    async def _batches(self, until: float) -> AsyncIterator[bytes]:
        sequence = self.acknowledged
        while time.monotonic() < until:
            while sequence - self.acknowledged >= _AHEAD:
                self._answered.clear()
                await self._answered.wait()
            sequence += 1
            self.written += 1
            yield self._encoder.request(self.name, sequence, self.start + sequence * SECONDS_OF_BATCH)


def flood(address: str, nodes: int, seconds: float) -> Flooded:
    """Flood a governator, or a proxy in front of it, for some seconds; for a process of its own."""
    # Whole hours: minutes as old as these are not kept for long.
    start = (int(time.time()) - AGO) // _HOUR * _HOUR
    flooding = asyncio.run(_all([f"flood-{number}" for number in range(nodes)], start, address, seconds))
    delays = [delay for node in flooding for delay in node.delays]
    return Flooded(
        written=sum(node.written for node in flooding),
        acknowledged=sum(node.acknowledged for node in flooding),
        refused=len(delays),
        least_delay=min(delays, default=0),
        most_delay=max(delays, default=0),
        start=start,
        end=start + ((max(node.written for node in flooding) + 2) * SECONDS_OF_BATCH // _HOUR + 1) * _HOUR,
    )


async def _all(names: Sequence[str], start: int, address: str, seconds: float) -> list[_Node]:
    until = time.monotonic() + seconds
    nodes = [_Node(name, start) for name in names]
    async with asyncio.TaskGroup() as tasks, rpc.channel(address) as channel:
        await asyncio.gather(*(tasks.create_task(node.run(channel, until)) for node in nodes))
    return nodes
