"""What TLS between the data plane and a node costs: one server behind a proxy, plain and through its sidecar.

``python -m benchmarks.node_tls`` runs for about a minute on loopback, prints a table and writes
``benchmarks/results/node_tls.{json,md}``. Both ways run in the same rounds; a figure is the median over rounds, its
ratio the median of the rounds' ratios. CPU is that of the proxy's Envoy and of the Envoy beside the server. Connections
stay, so handshakes are not part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.members import fronted, identified, new_authority
from benchmarks.proxied import proxy
from benchmarks.proxy_path import EFFORT, HEADER, MODEL, RESULTS, SIZES, Way, child, cpu_seconds, load, message
from inferno.registration.v1 import node_pb2, registration_service_pb2, registration_service_pb2_grpc
from inferno_runtime import logs, rpc
from inferno_runtime.identity.names import Role


@dataclass(frozen=True, slots=True)
class Cost:
    """One round of one way: microseconds of CPU a call in the proxy's Envoy and beside the server, latencies in ms."""

    proxy_us: float
    sidecar_us: float
    p50_ms: float
    p99_ms: float

    @property
    def both_us(self) -> float:
        """CPU of a call, wherever it is spent."""
        return self.proxy_us + self.sidecar_us


@contextlib.asynccontextmanager
async def ways(scratch: Path) -> AsyncIterator[list[tuple[Way, int]]]:
    """Both ways to one server, each with the process id of the Envoy beside the server, 0 for none."""
    by = new_authority()
    async with contextlib.AsyncExitStack() as stack:
        echo = await stack.enter_async_context(
            child(sys.executable, "-m", "benchmarks.proxy_path", "--serve", stdout=subprocess.PIPE)
        )
        assert echo.stdout is not None
        upstream = int(await echo.stdout.readline())
        identity = identified(scratch / "identity", by, Role.NODE)
        sidecar = await stack.enter_async_context(fronted(scratch, identity, f"127.0.0.1:{upstream}"))
        plain = await stack.enter_async_context(proxy(scratch / "plain", [upstream], [MODEL], ""))
        identified(scratch / "secured" / "identity", by, Role.PROXY)
        secured = await stack.enter_async_context(proxy(scratch / "secured", [], [], ""))
        await announce(secured["endpoint"], sidecar.endpoints.grpc)
        yield [
            (Way("plain", plain["endpoint"], HEADER, plain["envoy_pids"][0]), 0),
            (Way("TLS", secured["endpoint"], HEADER, secured["envoy_pids"][0]), sidecar.pid),
        ]


async def announce(proxy_at: str, node_at: str) -> None:
    """Let the node in, and wait until calls reach it: the load waits for the first."""
    async with rpc.channel(proxy_at) as channel:
        node = node_pb2.Node(node_id="bench", incarnation=1, grpc_address=node_at, tls=True)
        stub = registration_service_pb2_grpc.RegistrationServiceStub(channel)
        await stub.Announce(registration_service_pb2.AnnounceRequest(node=node), timeout=5)
        infer: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(200):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await infer(message(1), metadata=HEADER, timeout=1)
                return
            await asyncio.sleep(0.05)
    raise SystemExit("The node that takes TLS was never reached.")


async def measure(rounds: int) -> dict[str, dict[str, list[Cost]]]:
    """Costs by size and way. The first round warms up and is not kept."""
    found: dict[str, dict[str, list[Cost]]] = {size: {} for size in SIZES}
    with tempfile.TemporaryDirectory(prefix="inf-") as scratch:
        async with ways(Path(scratch)) as running:
            for number in range(rounds + 1):
                for size, length in SIZES.items():
                    for way, beside in running:
                        before = cpu_seconds(beside) if beside else 0.0
                        sample = await load(way, message(length), *EFFORT[size])
                        spent = (cpu_seconds(beside) if beside else 0.0) - before
                        cost = Cost(sample.cpu_us, spent / EFFORT[size][0] * 1e6, sample.p50_ms, sample.p99_ms)
                        if number:
                            found[size].setdefault(way.name, []).append(cost)
    return found


def table(found: Mapping[str, Mapping[str, Sequence[Cost]]]) -> str:
    """One row per size and way, as a Markdown table."""
    lines = [
        "| request | way | CPU, proxy, µs | CPU, beside the server, µs | of plain | p50, ms | p99, ms | p50 of plain |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, by_way in found.items():
        for name, costs in by_way.items():
            both = [cost.both_us / plain.both_us for cost, plain in zip(costs, by_way["plain"], strict=True)]
            p50 = [cost.p50_ms / plain.p50_ms for cost, plain in zip(costs, by_way["plain"], strict=True)]
            middle = {field: statistics.median(getattr(c, field) for c in costs) for field in Cost.__dataclass_fields__}
            lines.append(
                f"| {size} | {name} | {middle['proxy_us']:.0f} | {middle['sidecar_us']:.0f} "
                f"| {statistics.median(both):.2f} | {middle['p50_ms']:.2f} | {middle['p99_ms']:.2f} "
                f"| {statistics.median(p50):.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What TLS between the data plane and a node costs.")
    parser.add_argument("--rounds", type=int, default=12, help="rounds that count (one more warms up)")
    rounds = parser.parse_args().rounds
    logs.configure("console", "error")
    found = asyncio.run(measure(rounds))
    print(table(found))
    samples = {size: {way: [asdict(c) for c in each] for way, each in by_way.items()} for size, by_way in found.items()}
    document = {"cpus": os.cpu_count(), "rounds": rounds, "samples": samples}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "node_tls.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    head = f"# TLS to a node\n\n{os.cpu_count()} CPUs, {rounds} rounds: benchmarks/node_tls.py.\n\n"
    (RESULTS / "node_tls.md").write_text(head + table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
