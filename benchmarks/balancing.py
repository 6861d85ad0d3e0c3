"""How well calls are shared out on an uneven fleet: learned weights against least request and round robin.

``python -m benchmarks.balancing`` runs for about four minutes on loopback, prints a table and writes
``benchmarks/results/balancing.{json,md}``. Six servers, of which one is ten times slower; calls of mixed sizes arrive
at random moments, with a burst of three times the rate every five seconds. Every policy gets the same calls at the same
moments, in turns of several rounds, so that a busy machine disturbs all alike. The servers only wait (see
:mod:`benchmarks.far_side`): what differs is where calls are sent. The first seconds of each turn are not counted: what
is learned has gone stale meanwhile. Hedging is off, so that only the choice of a node is compared.

Goodput is the share of calls answered within five times the mean service time of a well server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.environment import machine
from benchmarks.far_side import FarSide, far_side
from benchmarks.proxied import proxy
from inferno_runtime import logs, rpc

RESULTS = Path(__file__).parent / "results"
POLICIES = ("round_robin", "least_request", "learned")
CONFIG = """
proxy:
  models:
    "*": {retries: 0}
    round_robin: {balance: round_robin, learn: false}
    least_request: {balance: least_request, learn: false}
    learned: {balance: least_request, max_wait: 0}
  hedge_budget: 0
"""
SERVERS = FarSide(POLICIES, slowness=(1, 1, 1, 1, 1, 10), slots=2, service=0.01)
RATE = 100.0
WARM, COUNTED = 10.0, 15.0
_BURST_EVERY, _BURST_SECONDS, _BURST = 5.0, 0.5, 3.0
_GOOD = 5 * SERVERS.service


@dataclass(frozen=True, slots=True)
class Turn:
    """One policy's part of one round: latencies in milliseconds, shares from 0 to 1."""

    calls: int
    p50_ms: float
    p99_ms: float
    goodput: float
    slow_node: float


def arrivals(seed: int) -> list[tuple[float, float]]:
    """Moments (seconds from the start) and sizes (mean about 1): Poisson with bursts, log-normal."""
    dice = random.Random(seed)  # noqa: S311 - the same calls for every policy
    found, now = [], 0.0
    while now < WARM + COUNTED:
        rate = RATE * (_BURST if now % _BURST_EVERY < _BURST_SECONDS else 1.0)
        now += dice.expovariate(rate)
        found.append((now, dice.lognormvariate(-0.125, 0.5)))
    return found


async def turn(endpoint: str, policy: str, seed: int) -> Turn:
    """Make one policy's calls and measure them."""
    latencies: list[float] = []
    servers: list[str] = []
    async with rpc.channel(endpoint) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        async def call(due: float, size: float, counted: bool) -> None:
            request = service_pb2.ModelInferRequest(model_name=policy, id=f"{size:.3f}")
            server = ""
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await stub.ModelInfer(request, timeout=5, metadata=(("x-inferno-model", policy),))
                server = answer.id
            if counted:
                latencies.append(time.monotonic() - due if server else float("inf"))
                servers.append(server)

        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for moment, size in arrivals(seed):
                await asyncio.sleep(max(0.0, start + moment - time.monotonic()))
                group.create_task(call(start + moment, size, moment >= WARM))
    latencies.sort()
    return Turn(
        calls=len(latencies),
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1e3,
        goodput=sum(each <= _GOOD for each in latencies) / len(latencies),
        slow_node=servers.count(str(len(SERVERS.slowness) - 1)) / len(servers),
    )


async def measure(rounds: int) -> dict[str, list[Turn]]:
    """Every policy's turns."""
    found: dict[str, list[Turn]] = {policy: [] for policy in POLICIES}
    with tempfile.TemporaryDirectory(prefix="inf-") as scratch:
        async with far_side(SERVERS) as ports, proxy(Path(scratch), ports, POLICIES, CONFIG) as facts:
            for number in range(rounds):
                for policy in POLICIES:
                    found[policy].append(await turn(facts["endpoint"], policy, number))
    return found


def summary(found: Mapping[str, Sequence[Turn]]) -> list[dict[str, Any]]:
    """One row per policy: medians over the rounds, and its p99 against that of round robin and of least request."""
    rows = []
    for policy, turns in found.items():
        row: dict[str, Any] = {"policy": policy, "calls": sum(each.calls for each in turns)}
        for field in ("p50_ms", "p99_ms", "goodput", "slow_node"):
            row[field] = round(statistics.median(getattr(each, field) for each in turns), 4)
        for other in POLICIES[:2]:
            pairs = zip(turns, found[other], strict=True)
            row[f"p99_vs_{other}"] = round(statistics.median(a.p99_ms / b.p99_ms for a, b in pairs), 3)
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| policy | calls | p50, ms | p99, ms | of round robin | of least request | goodput | slow node's share |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['policy']} | {row['calls']} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f} "
        f"| {row['p99_vs_round_robin']:.2f} | {row['p99_vs_least_request']:.2f} "
        f"| {row['goodput']:.1%} | {row['slow_node']:.1%} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="How well calls are shared out on an uneven fleet.")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    logs.configure("console", "error")
    with contextlib.suppress(PermissionError):
        os.nice(-5)  # whatever else the machine does disturbs the figures less
    found = asyncio.run(measure(asked.rounds))
    rows = summary(found)
    print(table(rows))
    RESULTS.mkdir(exist_ok=True)
    turns = {policy: [asdict(each) for each in made] for policy, made in found.items()}
    document = {**machine(), "rounds": asked.rounds, "rows": rows, "turns": turns}
    (RESULTS / "balancing.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    head = (
        "# Balancing on an uneven fleet\n\n"
        f"Six servers, one ten times slower; {RATE:.0f} calls/s with bursts of three times that; "
        f"{asked.rounds} rounds: benchmarks/balancing.py.\n\n"
    )
    (RESULTS / "balancing.md").write_text(head + table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
