"""Many agents in one process: registers nodes over a few HTTP/2 connections and keeps their leases.

::

    python -m benchmarks.swarm --target unix:/path --nodes 10000 --channels 10 --hold 5

Every node is announced at once, as after a control plane's return; ``--models`` shares them out among so many models.
The process prints a JSON object once all are in and a more complete one at the end: ``seconds`` until the last was let
in, ``refused``: streams that ended, by status, and the heartbeats a second that it sends then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter

import grpc

from inferno.registration.v1 import node_pb2, registration_service_pb2_grpc
from inferno.registration.v1 import registration_service_pb2 as wire
from inferno_runtime.backoff import Backoff

_WITHIN = 120.0


class Swarm:
    """The agents."""

    def __init__(self, nodes: int, first: int = 0, models: int = 1) -> None:
        self.nodes = nodes
        self.first = first
        self.models = models
        self.accepted: set[int] = set()
        self.heartbeats = 0
        self.refused: Counter[str] = Counter()
        self.all_in = asyncio.Event()

    async def agent(self, stub: registration_service_pb2_grpc.RegistrationServiceAsyncStub, number: int) -> None:
        """One agent, until cancelled: it comes again when its stream ends, as real ones do."""
        waits = Backoff(0.1, 2.0)
        while True:
            try:
                await self._lease(stub, number)
            except grpc.aio.AioRpcError as error:
                self.refused[error.code().name] += 1
            await asyncio.sleep(waits.next())

    async def _lease(self, stub: registration_service_pb2_grpc.RegistrationServiceAsyncStub, number: int) -> None:
        """One stream."""
        call = stub.Register()
        await call.write(wire.RegisterRequest(node=node(number, model_of(number, self.models)), revision=1))
        beating: asyncio.Task[None] | None = None
        held = [0.0]

        async def beat() -> None:
            while True:
                await asyncio.sleep(held[0] / 3)
                self.heartbeats += 1
                await call.write(wire.RegisterRequest())

        try:
            async for response in call:
                held[0] = response.lease_duration.ToNanoseconds() / 1e9
                if beating is None:
                    beating = asyncio.create_task(beat())
                    self.accepted.add(number)
                if len(self.accepted) == self.nodes:
                    self.all_in.set()
        finally:
            if beating is not None:
                beating.cancel()
            call.cancel()


def model_of(number: int, models: int) -> str:
    """The model that a node serves in a fleet of so many."""
    return f"swarm-{number % models}" if models > 1 else "swarm"


def node(number: int, model: str) -> node_pb2.Node:
    """A node of its own address that serves one model."""
    ready = node_pb2.ModelVersion(version="1", state=node_pb2.MODEL_STATE_READY)
    return node_pb2.Node(
        node_id=f"swarm-{number}",
        incarnation=1,
        grpc_address=f"127.{1 + number // 60_000}.{number // 250 % 250}.{1 + number % 250}:8001",
        models=[node_pb2.Model(name=model, versions=[ready])],
        region="swarm",
        condition=node_pb2.NODE_CONDITION_SERVING,
    )


async def _main(options: argparse.Namespace) -> None:
    swarm = Swarm(options.nodes, options.first, options.models)
    channels = [
        grpc.aio.insecure_channel(
            options.target, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        )
        for _ in range(options.channels)
    ]
    stubs = [registration_service_pb2_grpc.RegistrationServiceStub(channel) for channel in channels]
    since = time.monotonic()
    tasks = [asyncio.create_task(swarm.agent(stubs[n % len(stubs)], n)) for n in _numbers(swarm)]
    try:
        async with asyncio.timeout(_WITHIN):
            await swarm.all_in.wait()
        seconds: float | None = time.monotonic() - since
    except TimeoutError:
        seconds = None
    _say({"seconds": seconds, "accepted": len(swarm.accepted)})
    beats = swarm.heartbeats
    await asyncio.sleep(options.hold)
    rate = (swarm.heartbeats - beats) / options.hold if options.hold else 0.0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    report = {
        "seconds": seconds,
        "accepted": len(swarm.accepted),
        "refused": dict(swarm.refused),
        "heartbeats_per_second": round(rate),
    }
    _say(report)


def _numbers(swarm: Swarm) -> range:
    return range(swarm.first, swarm.first + swarm.nodes)


def _say(report: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first node")
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--channels", type=int, default=10)
    parser.add_argument("--hold", type=float, default=5)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
