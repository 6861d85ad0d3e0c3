"""How many samples a second the governator takes in, from gRPC into its database, and what that costs in CPU.

::

    python -m benchmarks.telemetry_ingest                       # SQLite, then PostgreSQL 18, in temporary folders
    python -m benchmarks.telemetry_ingest --db postgresql://…   # any other database
    python -m benchmarks.telemetry_ingest --seconds 5

A governator process stores what nodes in a process of their own send: 500 samples a batch, one second apart, three
models and two GPUs each. Only acknowledged samples count, and acknowledged means committed and on disk. Results go to
``benchmarks/results/telemetry_ingest.{json,md}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.environment import machine
from benchmarks.postgres import PostgresServer
from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.telemetry_pb2 import DeviceSample, ModelSample, NodeFacts, Sample, TelemetryBatch
from inferno_governator.store.address import parse_database
from inferno_runtime import process, rpc
from inferno_runtime.notify import NotifySocket

_RESULTS = Path(__file__).parent / "results"
METHOD = "/inferno.governance.v1.GovernanceService/StreamTelemetry"
_SERIES = 5
_BATCH = 500
SECONDS_OF_BATCH = _BATCH // _SERIES
# Batches of 100 seconds are sent in milliseconds: they begin in the past to end before the future.
AGO = 25 * 86_400
# Batches a node sends ahead of their acknowledgement.
_UNACKNOWLEDGED = 32
# Samples a second on two cores, which the nodes that send and the PostgreSQL server need as well.
GOALS = {"SQLite": 150_000, "PostgreSQL": 100_000}


@dataclass(frozen=True, slots=True)
class Sent:
    """What one process of nodes got acknowledged. ``waits`` are seconds from writing a batch to its acknowledgement."""

    samples: int
    seconds: float
    waits: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    database: str
    goal_samples_per_second: int
    nodes: int
    samples: int
    seconds: float
    samples_per_second: int
    governator_cpu_micros_per_sample: float
    governator_cores: float
    governator_peak_rss_mib: float
    acknowledged_p50_ms: float
    acknowledged_p99_ms: float
    bytes_on_disk_per_sample: float | None
    # Of the machine before the run: with other work on its cores the rate is lower, the CPU for a sample is not.
    load_average_before: float


def _second(at: int) -> Iterator[Sample]:
    """What a node measures in a second."""
    end, window = Timestamp(seconds=at), Duration(seconds=1)
    for model in ("llama-3-8b", "whisper", "filetype"):
        sample = ModelSample(
            model=model,
            version="1",
            requests=37,
            inferences=148,
            executions=19,
            request_micros=812_345,
            queue_micros=112_233,
            compute_micros=254_321,
            pending=3,
        )
        yield Sample(time=end, window=window, model=sample)
    for gpu in ("GPU-5f4b7a1c-0", "GPU-5f4b7a1c-1"):
        device = DeviceSample(
            device_id=gpu,
            kind="gpu",
            utilization=0.731,
            memory_used_bytes=61_234_567_890,
            memory_total_bytes=85_899_345_920,
            energy_joules=412.5,
        )
        yield Sample(time=end, window=window, device=device)


class Encoder:
    """Encodes batches by changing the time in bytes made once: a sender must cost less than what it measures."""

    def __init__(self) -> None:
        at = int(time.time())
        self._around = [
            TelemetryBatch(samples=[sample]).SerializeToString().split(_varint(at), 1) for sample in _second(at)
        ]

    def request(self, node: str, sequence: int, start: int) -> bytes:
        """A batch whose seconds begin at a Unix time."""
        head = TelemetryBatch(node_id=node, incarnation=1, sequence=sequence)
        if sequence == 1:
            head.facts.CopyFrom(NodeFacts(price_micros_per_hour=6_880_000, device="NVIDIA H100", gpu_count=2))
        # Fields of a message may come in any order and in pieces, so the head goes before the samples.
        parts = [head.SerializeToString()]
        for second in range(SECONDS_OF_BATCH):
            now = _varint(start + second + 1)
            for before, after in self._around:
                parts += (before, now, after)
        body = b"".join(parts)
        return b"\x0a" + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


async def _node(address: str, name: str, seconds: float) -> Sent:
    start = int(time.time()) - AGO
    encoder = Encoder()
    written: deque[float] = deque()
    waits: list[float] = []
    acknowledged = 0
    answered = asyncio.Event()
    async with rpc.channel(address) as channel:
        await channel.channel_ready()
        began = time.perf_counter()

        async def outgoing() -> AsyncIterator[bytes]:
            sequence = 0
            while time.perf_counter() - began < seconds:
                while len(written) >= _UNACKNOWLEDGED:
                    answered.clear()
                    await answered.wait()
                sequence += 1
                request = encoder.request(name, sequence, start + sequence * SECONDS_OF_BATCH)
                written.append(time.perf_counter())
                yield request

        call = channel.stream_stream(
            METHOD, request_serializer=bytes, response_deserializer=wire.StreamTelemetryResponse.FromString
        )(outgoing())
        async for answer in call:
            now = time.perf_counter()
            while acknowledged < answer.acknowledged_sequence:
                acknowledged += 1
                waits.append(now - written.popleft())
            answered.set()
        return Sent(acknowledged * _BATCH, time.perf_counter() - began, tuple(waits))


def _nodes(address: str, count: int, seconds: float) -> list[Sent]:
    async def all_of_them() -> list[Sent]:
        return await asyncio.gather(*(_node(address, f"bench-{n}", seconds) for n in range(count)))

    return asyncio.run(all_of_them())


async def measure(url: str, file: Path | None, nodes: int, seconds: float) -> Result:
    """Run one governator against ``nodes`` nodes that send as fast as they are let."""
    load = os.getloadavg()[0]
    argv = [sys.executable, "-m", "inferno_governator.cli", "--db", url, "--listen", "127.0.0.1:0"]
    async with NotifySocket() as told:
        child = await process.spawn(
            argv, env={**os.environ, "NOTIFY_SOCKET": told.path}, die_with_parent=signal.SIGKILL
        )
        try:
            async with asyncio.timeout(30):
                _, fields = await told.receive()
            address = json.loads(fields["X_INFERNO"])["address"]
            seen = psutil.Process(child.pid)
            before = seen.cpu_times()
            peak, sent = await _watched(seen, address, nodes, seconds)
            after = seen.cpu_times()
        finally:
            await process.terminate(child, grace=10)
    samples, took = sum(each.samples for each in sent), max(each.seconds for each in sent)
    cpu = after.user + after.system - before.user - before.system
    waits = sorted(wait for each in sent for wait in each.waits)
    database = "PostgreSQL" if file is None else "SQLite"
    return Result(
        database=database,
        goal_samples_per_second=GOALS[database],
        nodes=nodes,
        samples=samples,
        seconds=round(took, 2),
        samples_per_second=round(samples / took),
        governator_cpu_micros_per_sample=round(cpu / samples * 1e6, 2),
        governator_cores=round(cpu / took, 2),
        governator_peak_rss_mib=round(peak / 2**20, 1),
        acknowledged_p50_ms=round(waits[len(waits) // 2] * 1e3, 1),
        acknowledged_p99_ms=round(waits[len(waits) * 99 // 100] * 1e3, 1),
        bytes_on_disk_per_sample=round(file.stat().st_size / samples, 1) if file is not None else None,
        load_average_before=round(load, 2),
    )


async def _watched(seen: psutil.Process, address: str, nodes: int, seconds: float) -> tuple[int, list[Sent]]:
    """Let the nodes send from a process of their own; returns the governator's peak memory and what was sent."""
    # Started anew, not forked: gRPC's threads do not survive a fork.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        sending = asyncio.get_running_loop().run_in_executor(pool, _nodes, address, nodes, seconds)
        peak = 0
        while not sending.done():
            peak = max(peak, seen.memory_info().rss)
            await asyncio.sleep(0.05)
        return peak, await sending


@contextmanager
def databases(url: str) -> Iterator[list[tuple[str, Path | None]]]:
    """URLs to measure, with the file of an embedded one: the one given, or one of each kind that goes away again."""
    if url:
        yield [(url, parse_database(url).file)]
        return
    with (
        tempfile.TemporaryDirectory(prefix="inf-bench-") as embedded,
        tempfile.TemporaryDirectory(prefix="inf-pg-", ignore_cleanup_errors=True) as folder,
    ):
        file = Path(embedded) / "governator.db"
        server = PostgresServer(Path(folder) / "data")
        server.start()
        try:
            yield [(f"sqlite:///{file}", file), (server.create_database("bench"), None)]
        finally:
            server.stop()


def markdown(results: Sequence[Result], about: dict[str, Any]) -> str:
    """The results as a table, a column for each database."""
    columns = [asdict(result) for result in results]
    rows = "\n".join(
        f"| {name.replace('_', ' ')} | {' | '.join(str(column[name]) for column in columns)} |" for name in columns[0]
    )
    machine_line = ", ".join(f"{name} {value}" for name, value in about.items())
    return (
        f"# Telemetry ingest\n\nSamples from gRPC into the database, {_BATCH} a batch, counted when acknowledged "
        f"(committed and on disk).\n\n|{' |' * (len(columns) + 1)}\n|{'---|' * (len(columns) + 1)}\n{rows}\n\n"
        f"{machine_line}\n"
    )


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--db", default="", help="URL of one database (default: SQLite and PostgreSQL of its own)")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    with databases(options.db) as wanted:
        results = [asyncio.run(measure(url, file, options.nodes, options.seconds)) for url, file in wanted]
    about = machine()
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(results, about)
    (options.results / "telemetry_ingest.md").write_text(text)
    (options.results / "telemetry_ingest.json").write_text(
        json.dumps({"machine": about, "databases": [asdict(result) for result in results]}, indent=2) + "\n"
    )
    print(text)


if __name__ == "__main__":
    main()
