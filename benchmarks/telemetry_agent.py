"""What sending telemetry costs an agent: processor time for each sample, and the share of a core at 10,000 a second.

::

    python -m benchmarks.telemetry_agent
    python -m benchmarks.telemetry_agent --seconds 20

An agent's own sampler, buffer and uplink, in a process of their own, make 10,000 samples a second of counters that all
change, and send them to a governator process with SQLite on disk. What is measured is the processor time of the whole
process, with every thread of gRPC in it. Reading Triton's page is not in it: that is done for load and stalls, whether
telemetry is sent or not. The same samples are then sent one to a message, to show what batches are for. Results go to
``benchmarks/results/telemetry_agent.{json,md}``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environment import machine
from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc, telemetry_pb2
from inferno_backend.link import PLAIN
from inferno_backend.meter import Reading
from inferno_backend.node import Hardware, Identity
from inferno_backend.sampler import Sampler, decoded
from inferno_backend.triton.metrics_page import Counters, Key
from inferno_backend.uplink import Uplink
from inferno_runtime import process, rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from inferno_runtime.mailbox import Mailbox
from inferno_runtime.notify import NotifySocket

_RESULTS = Path(__file__).parent / "results"
RATE = 10_000
GOAL_PERCENT = 10.0
# As the meter reads: twice in each window.
_READINGS_A_SECOND = 2
_ROUNDS = 3
_ALONE = 20_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of an agent took: ``micros`` of processor time for each of ``samples``, acknowledged or taken."""

    samples: int
    seconds: float
    micros: float

    @property
    def percent(self) -> float:
        """Share of one core at the rate of the goal."""
        return self.micros * RATE / 1e4


@dataclass(frozen=True, slots=True)
class Result:
    """The median of the rounds."""

    samples_per_second: int
    samples: int
    cpu_micros_per_sample: float
    percent_of_a_core: float
    percent_of_a_core_of_each_round: tuple[float, ...]
    dropped: int
    cpu_micros_per_sample_one_a_message: float
    batches_are_cheaper_by: float
    # Of the machine before the run: work on the same cores makes processor time a little longer too.
    load_average_before: float


def _page(count: int, turn: int) -> dict[Key, Counters]:
    """A Triton's counters, all of which have changed since the turn before."""
    return {
        (f"model-{n}", "1"): Counters(
            37 * turn + n, turn, 148 * turn, 19 * turn, 812_345 * turn, 112_233 * turn, 254_321 * turn, pending=3
        )
        for n in range(count)
    }


def _identity(name: str) -> Identity:
    return Identity(name, time.time_ns(), Hardware(1, 1), "bench")


async def _sent(address: str, seconds: int) -> tuple[Cost, int]:
    """Send ``seconds`` windows of a second each; returns the cost and how many samples were dropped."""
    clock = SystemClock()
    mailbox: Mailbox[bytes] = Mailbox(100_000)
    uplink = Uplink((address,), _identity("bench-agent"), mailbox, clock, Latest(PLAIN))
    sampler = Sampler(Latest(None), Latest(None), mailbox, 1.0)
    # Made before the measurement: in an agent they come from the reading of the page.
    pages = [_page(RATE, turn) for turn in range(seconds * _READINGS_A_SECOND + 1)]
    running = asyncio.create_task(uplink.run())
    try:
        # An agent holds two of them: the others must not cost a collector of garbage time.
        gc.collect()
        gc.freeze()
        began, wall = clock.monotonic(), clock.wall()
        sampler.take(Reading(began, wall, pages[0]))
        before = time.process_time()
        for turn, page in enumerate(pages[1:], 1):
            at = turn / _READINGS_A_SECOND
            await clock.sleep(max(0.0, began + at - clock.monotonic()))
            sampler.take(Reading(began + at, wall + at, page))
        if not await uplink.flushed(30):
            raise SystemExit("The governator did not acknowledge everything within 30 s.")
        took = clock.monotonic() - began
        cpu = time.process_time() - before
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    count = uplink.progress.acknowledged_samples
    return Cost(count, took, cpu / count * 1e6), uplink.progress.dropped


async def _sent_alone(address: str) -> Cost:
    """The same samples, each in a message of its own and with 500 on their way at once."""
    clock, mailbox = SystemClock(), Mailbox[bytes](_ALONE)
    sampler = Sampler(Latest(None), Latest(None), mailbox, 1.0)
    wall, identity = clock.wall(), _identity("bench-alone")
    before, began = time.process_time(), clock.monotonic()
    for turn in range(_ALONE // RATE + 1):
        sampler.take(Reading(turn, wall + turn, _page(RATE, turn)))
    samples = decoded(await mailbox.take(_ALONE, 0))
    places = asyncio.Semaphore(500)
    async with rpc.channel(address) as channel:

        async def requests() -> AsyncIterator[wire.StreamTelemetryRequest]:
            for sequence, sample in enumerate(samples, 1):
                await places.acquire()
                batch = telemetry_pb2.TelemetryBatch(
                    node_id=identity.node_id, incarnation=identity.incarnation, sequence=sequence, samples=[sample]
                )
                yield wire.StreamTelemetryRequest(batch=batch)

        stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
        acknowledged = 0
        async for answer in stub.StreamTelemetry(requests()):
            for _ in range(answer.acknowledged_sequence - acknowledged):
                places.release()
            acknowledged = answer.acknowledged_sequence
    cpu = time.process_time() - before
    return Cost(acknowledged, clock.monotonic() - began, cpu / acknowledged * 1e6)


def _batched(address: str, seconds: int) -> tuple[Cost, int]:
    return asyncio.run(_sent(address, seconds))


def _alone(address: str) -> Cost:
    return asyncio.run(_sent_alone(address))


@asynccontextmanager
async def _governator(folder: Path) -> AsyncIterator[str]:
    url = f"sqlite:///{folder / 'governator.db'}"
    argv = [sys.executable, "-m", "inferno_governator.cli", "--db", url, "--listen", "127.0.0.1:0"]
    async with NotifySocket() as told:
        child = await process.spawn(
            argv, env={**os.environ, "NOTIFY_SOCKET": told.path}, die_with_parent=signal.SIGKILL
        )
        try:
            async with asyncio.timeout(30):
                _, fields = await told.receive()
            yield json.loads(fields["X_INFERNO"])["address"]
        finally:
            await process.terminate(child, grace=10)


async def measure(seconds: int, rounds: int) -> Result:
    """Run the agent's side ``rounds`` times, and once with a message for each sample."""
    load = os.getloadavg()[0]
    loop = asyncio.get_running_loop()
    costs, dropped = [], 0
    with tempfile.TemporaryDirectory(prefix="inferno-bench-") as folder:
        async with _governator(Path(folder)) as address:
            for _ in range(rounds):
                # Each in a process of its own, started anew: processor time is a process's.
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    cost, lost = await loop.run_in_executor(pool, _batched, address, seconds)
                costs.append(cost)
                dropped += lost
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                alone = await loop.run_in_executor(pool, _alone, address)
    typical = median(cost.micros for cost in costs)
    return Result(
        samples_per_second=round(median(cost.samples / seconds for cost in costs)),
        samples=sum(cost.samples for cost in costs),
        cpu_micros_per_sample=round(typical, 2),
        percent_of_a_core=round(typical * RATE / 1e4, 2),
        percent_of_a_core_of_each_round=tuple(round(cost.percent, 2) for cost in costs),
        dropped=dropped,
        cpu_micros_per_sample_one_a_message=round(alone.micros, 1),
        batches_are_cheaper_by=round(alone.micros / typical, 1),
        load_average_before=round(load, 2),
    )


def markdown(result: Result, about: dict[str, Any]) -> str:
    """The result as a table."""
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in asdict(result).items())
    machine_line = ", ".join(f"{name} {value}" for name, value in about.items())
    return (
        f"# Telemetry on the agent's side\n\nProcessor time of sampler, buffer and uplink at {RATE} samples a second. "
        f"Goal: at most {GOAL_PERCENT:g} % of a core.\n\n| | |\n|---|---|\n{rows}\n\n{machine_line}\n"
    )


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    options = parser.parse_args()
    result = asyncio.run(measure(options.seconds, options.rounds))
    about = machine()
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(result, about)
    (options.results / "telemetry_agent.md").write_text(text)
    (options.results / "telemetry_agent.json").write_text(
        json.dumps({"machine": about, "goal_percent_of_a_core": GOAL_PERCENT, **asdict(result)}, indent=2) + "\n"
    )
    print(text)


if __name__ == "__main__":
    main()
