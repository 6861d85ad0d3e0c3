"""What a large fleet costs the control plane, and how soon a change in it is in force.

::

    python -m benchmarks.scale [--nodes 10000] [--streams 1000] [--rounds 50]

Two parts, each with agents that hold a real registration stream each (``benchmarks/swarm.py``).

*Routes*: a proxy with a real Envoy in front of a fleet of which all but one node are in another region, so that every
call goes to that one. It moves from one server to the other and back, again and again, and the time is taken until a
call is answered by the new one; once with all nodes behind one model, once shared out among a hundred. Envoy's own
health checks are off (``healing: false``): the far side of ten thousand nodes cannot run here.

*Clients*: a control plane without Envoy, healing on. Simulated data planes (``benchmarks/data_planes.py``) subscribe to
the fleet, and the time is taken until every one of them has acknowledged a change, which is when the node's agent is
told that its revision is applied. What heartbeats, nodes and clients cost is measured on the way.

Results go to ``benchmarks/results/scale.{json,md}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.control_plane import control_plane, cpu, resident
from benchmarks.environment import machine
from benchmarks.far_side import FarSide, far_side
from benchmarks.proxied import proxy
from benchmarks.swarm import model_of, node
from inferno.registration.v1 import registration_service_pb2 as wire
from inferno.registration.v1 import registration_service_pb2_grpc
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime import rpc
from inferno_runtime.process import spawn, terminate

_ROOT = Path(__file__).parent.parent
_RESULTS = Path(__file__).parent / "results"
_HERE = "here"
_WITHIN = 300
_CALM = 15.0
_STEPS = 4
_PROCESSES = 4
# Between two changes: each is a lone one on a quiet fleet.
_PAUSE = 0.3
# Where nothing listens; nobody calls it.
_NOWHERE = (2, 3)
_PROXY = f"proxy:\n  healing: false\n  region: {_HERE}\n"


@dataclass(frozen=True, slots=True)
class Change:
    """What one change of one endpoint costs: CPU of the control plane, and how long until it is in force, in ms.

    ``sent_ms`` is all CPU of the whole process, in all its threads, from the node's word until the change is in force,
    which is later than sent; ``cpu_ms`` until the next change, so with the files that are kept of it and whatever else
    follows. What the process uses when nothing changes is measured before and taken off both; ``load`` is the machine's
    load average meanwhile: the longer the process waits for a core, the more of what follows falls into ``sent_ms``.
    """

    fleet: str
    rounds: int
    load: float
    sent_ms: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory of the control plane at each step of a growing number of nodes or clients, in MiB, and for each one of
    them, in KiB; ``bend`` is how many times as much the second half took as the first."""

    of: str
    counts: tuple[int, ...]
    mib: tuple[float, ...]
    each_kib: float
    bend: float


class Agent:
    """One node's agent: moves the node, and hears what is applied."""

    def __init__(self, target: str, number: int, models: int, ports: Sequence[int]) -> None:
        self._channel = rpc.channel(target)
        self._ports = ports
        self._node = node(number, model_of(number, models))
        self._node.region = _HERE
        self._revision = 0
        self._applied = 0
        self._news = asyncio.Event()
        self._lease = 3.0
        self.call: Any = None

    async def __aenter__(self) -> Agent:
        self.call = registration_service_pb2_grpc.RegistrationServiceStub(self._channel).Register()
        await self.move()
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        self.call.cancel()
        await self._channel.close()

    async def move(self) -> int:
        """Go to the other server; its number."""
        self._revision += 1
        there = self._revision % 2
        self._node.grpc_address = f"127.0.0.1:{self._ports[there]}"
        await self.call.write(wire.RegisterRequest(node=self._node, revision=self._revision))
        return there

    async def applied(self) -> None:
        """Return when every data plane runs the newest revision."""
        async with asyncio.timeout(_WITHIN):
            while self._applied < self._revision:
                self._news.clear()
                hearing = self._tasks[0]
                await asyncio.wait(
                    [hearing, asyncio.create_task(self._news.wait())], return_when=asyncio.FIRST_COMPLETED
                )
                if hearing.done():
                    await hearing

    async def _hear(self) -> None:
        async for response in self.call:
            self._applied = response.applied_revision
            self._lease = response.lease_duration.ToNanoseconds() / 1e9
            self._news.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            await self.call.write(wire.RegisterRequest())


@asynccontextmanager
async def _helper(module: str, target: str, **flags: int) -> AsyncIterator[dict[str, Any]]:
    """Another process of the benchmark; what it says once it is complete."""
    argv = [sys.executable, "-m", f"benchmarks.{module}", "--target", target]
    for flag, value in flags.items():
        argv += [f"--{flag}", str(value)]
    process = await spawn(argv, stdout=asyncio.subprocess.PIPE, cwd=_ROOT, new_group=True)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_WITHIN):
            said = await process.stdout.readline()
        yield json.loads(said)
    finally:
        await terminate(process, grace=1)


# ---------------------------------------------------------------------------------------------------------- routes


async def routes(nodes: int, models: int, rounds: int) -> Change:
    """How soon Envoy routes by a change in a fleet of so many nodes behind so many models."""
    model = model_of(0, models)
    with tempfile.TemporaryDirectory(prefix="inferno-scale-") as folder:
        servers = FarSide([model], (1, 1), slots=8, service=0)
        async with far_side(servers) as ports, proxy(Path(folder), (), (), _PROXY) as facts:
            target = f"unix:{Layout(Path(folder)).control_grpc}"
            process = _control_process()
            async with (
                _helper("swarm", target, nodes=nodes - 1, first=1, models=models, hold=3600),
                Agent(target, 0, models, ports) as agent,
                rpc.channel(facts["endpoint"]) as channel,
            ):
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                await agent.applied()
                await _calm(process)
                costs = _Costs(process, await _idle(process))
                for _ in range(rounds):
                    with costs.change():
                        there = await agent.move()
                        await _until_answered(stub, model, str(there))
                    await agent.applied()
                    await asyncio.sleep(_PAUSE)
                return costs.change_of(f"{nodes} nodes behind {models} model{'s' if models > 1 else ''}")


def _control_process() -> psutil.Process:
    for child in psutil.Process().children(recursive=True):
        if "inferno_proxy.control_plane" in child.cmdline():
            return child
    raise LookupError("the control plane's process")


async def _until_answered(stub: service_pb2_grpc.GRPCInferenceServiceStub, model: str, by: str) -> None:
    async with asyncio.timeout(_WITHIN):
        while True:
            try:
                answer = await stub.ModelInfer(service_pb2.ModelInferRequest(model_name=model, id="0"), timeout=5)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
                continue
            if answer.id == by:
                return
            await asyncio.sleep(0.001)


async def _calm(process: psutil.Process) -> None:
    """Return when what a storm leaves behind is done: files written, memory given back."""
    while await _idle(process, 2.0) > 0.6:
        pass


async def _idle(process: psutil.Process, seconds: float = 5.0) -> float:
    """The part of a core that a process uses now."""
    before, began = cpu(process), time.monotonic()
    await asyncio.sleep(seconds)
    return (cpu(process) - before) / (time.monotonic() - began)


class _Costs:
    """Counts what a row of changes costs a process that uses ``idle`` of a core when nothing changes."""

    def __init__(self, process: psutil.Process, idle: float) -> None:
        self._process = process
        self._idle = idle
        self._began, self._before = time.monotonic(), cpu(process)
        self._delays: list[float] = []
        self._sent = 0.0

    @contextmanager
    def change(self) -> Iterator[None]:
        """One change, which is in force at the end."""
        began, before = time.monotonic(), cpu(self._process)
        yield
        delay = time.monotonic() - began
        self._delays.append(delay)
        self._sent += cpu(self._process) - before - self._idle * delay

    def change_of(self, fleet: str) -> Change:
        """What a change cost, now that the last one is over."""
        ordered = sorted(self._delays)
        whole = cpu(self._process) - self._before - self._idle * (time.monotonic() - self._began)
        return Change(
            fleet=fleet,
            rounds=len(ordered),
            load=round(os.getloadavg()[0], 1),
            sent_ms=round(self._sent / len(ordered) * 1000, 1),
            cpu_ms=round(whole / len(ordered) * 1000, 1),
            p50_ms=_milliseconds(ordered, 0.5),
            p99_ms=_milliseconds(ordered, 0.99),
            worst_ms=round(ordered[-1] * 1000, 1),
        )


def _milliseconds(ordered: Sequence[float], part: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000, 1)


# --------------------------------------------------------------------------------------------------------- clients


async def clients(nodes: int, models: int, streams: int, rounds: int) -> dict[str, object]:
    """What nodes, their heartbeats and data planes cost, and how soon all of these acknowledge a change."""
    with tempfile.TemporaryDirectory(prefix="inferno-scale-") as folder:
        layout = Layout(Path(folder))
        target = f"unix:{layout.control_grpc}"
        async with AsyncExitStack() as stack:
            process = await stack.enter_async_context(control_plane(layout))
            counts, sizes = [0], [resident(process)]
            for step in range(_STEPS):
                part = nodes // _STEPS
                swarm = _helper("swarm", target, nodes=part, first=1 + step * part, models=models, hold=3600)
                await stack.enter_async_context(swarm)
                await _calm(process)
                counts.append(counts[-1] + part)
                sizes.append(resident(process))
            by_node = _growth("node", counts, sizes)
            heartbeats = await _idle(process, _CALM)
            agent = await stack.enter_async_context(Agent(target, 0, models, _NOWHERE))
            counts, sizes = [0], [resident(process)]
            for step in range(_PROCESSES):
                part = streams // _PROCESSES
                planes = _helper("data_planes", target, streams=part, first=step * part, models=models)
                await stack.enter_async_context(planes)
                await _calm(process)
                counts.append(counts[-1] + part)
                sizes.append(resident(process))
            by_client = _growth("client", counts, sizes)
            await agent.applied()
            costs = await _acknowledged(agent, process, rounds)
            acknowledged = costs.change_of(f"{counts[-1]} streams, {nodes} nodes behind {models} models")
    return {
        "heartbeats_core": round(heartbeats, 3),
        "memory": [asdict(by_node), asdict(by_client)],
        "acknowledged": asdict(acknowledged),
    }


async def _acknowledged(agent: Agent, process: psutil.Process, rounds: int) -> _Costs:
    costs = _Costs(process, await _idle(process))
    for _ in range(rounds):
        with costs.change():
            await agent.move()
            await agent.applied()
        await asyncio.sleep(_PAUSE)
    return costs


def _growth(of: str, counts: Sequence[int], sizes: Sequence[float]) -> Growth:
    middle = len(counts) // 2
    first = (sizes[middle] - sizes[0]) / (counts[middle] - counts[0])
    second = (sizes[-1] - sizes[middle]) / (counts[-1] - counts[middle])
    return Growth(
        of=of,
        counts=tuple(counts),
        mib=tuple(round(size, 1) for size in sizes),
        each_kib=round((sizes[-1] - sizes[0]) / counts[-1] * 1024, 1),
        bend=round(second / first, 2) if first > 0 else 0.0,
    )


# --------------------------------------------------------------------------------------------------------- results


def _page(record: dict[str, Any]) -> str:
    rows = [
        "# A large fleet",
        "",
        "| one endpoint changes | changes | load | CPU until then ms | with the rest ms | p50 ms | p99 ms | worst ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    named = [(f"{one['fleet']}: Envoy routes by it", one) for one in record["routes"]]
    if "acknowledged" in record:
        named.append((f"{record['acknowledged']['fleet']}: all acknowledge it", record["acknowledged"]))
    rows += [
        f"| {what} | {one['rounds']} | {one['load']} | {one['sent_ms']} | {one['cpu_ms']} | {one['p50_ms']} "
        f"| {one['p99_ms']} | {one['worst_ms']} |"
        for what, one in named
    ]
    for one in record.get("memory", ()):
        steps = ", ".join(f"{size} MiB at {count}" for count, size in zip(one["counts"], one["mib"], strict=True))
        rows += ["", f"Memory for each {one['of']}: {one['each_kib']} KiB ({steps}; bend {one['bend']})."]
    if "heartbeats_core" in record:
        rows += ["", f"Heartbeats of {record['nodes']} nodes: {record['heartbeats_core']} of a core."]
    return "\n".join(rows) + "\n"


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both parts, as the options say."""
    record: dict[str, Any] = {"machine": machine(), "nodes": options.nodes, "streams": options.streams}
    record["routes"] = []
    if options.part in ("all", "routes"):
        for models in (1, options.models):
            record["routes"].append(asdict(await routes(options.nodes, models, options.rounds)))
    if options.part in ("all", "clients"):
        record |= await clients(options.nodes, options.models, options.streams, max(1, options.rounds // 3))
    return record


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--part", choices=("all", "routes", "clients"), default="all")
    options = parser.parse_args()
    record = asyncio.run(measure(options))
    page = _page(record)
    if options.part == "all":
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / "scale.json").write_text(json.dumps(record, indent=1) + "\n")
        (_RESULTS / "scale.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
