"""Malformed messages at a control plane's own socket: it refuses them in words and serves everybody else."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError, Message

from benchmarks.control_plane import control_plane, resident
from benchmarks.data_planes import DataPlane
from benchmarks.garbage import Garbage, announce, delta_discovery, discovery, register
from benchmarks.swarm import node
from inferno.registration.v1 import registration_service_pb2 as wire
from inferno.registration.v1 import registration_service_pb2_grpc as stubs
from inferno_proxy.publishing.snapshot import ResourceType
from inferno_proxy.supervisor.layout import Layout
from inferno_runtime import rpc

# Nightly runs set more.
SECONDS = float(os.environ.get("INFERNO_FUZZ_SECONDS", "3"))
WORKERS = 4
REGISTRATION = "/inferno.registration.v1.RegistrationService/"
DISCOVERY = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
# What a message that is well formed by chance may be answered; anything else is a defect.
SOUND = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED"}
OURS = {"CANCELLED", "DEADLINE_EXCEEDED"}
# This client's own words for a call that ended while it wrote.
NOT_THEIRS = "Internal error from Core"


class Fuzzer:
    """Sends garbage to both services; ``wrong`` is what should not have come back."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self._channel = channel

    async def run(self, garbage: Garbage, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await garbage.chance.choice((self._announce, self._register, self._discover))(garbage)

    async def _announce(self, garbage: Garbage) -> None:
        raw = garbage.unlike(announce())
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(f"{REGISTRATION}Announce")
        await self._heard("Announce", self._one(call, raw), broken=not parses(wire.AnnounceRequest, raw))

    async def _register(self, garbage: Garbage) -> None:
        raw = garbage.unlike(register())
        broken = not parses(wire.RegisterRequest, raw)
        await self._heard("Register", self._many(f"{REGISTRATION}Register", [raw, raw]), broken=broken)

    async def _discover(self, garbage: Garbage) -> None:
        kind = garbage.chance.choice([kind.value for kind in ResourceType])
        methods: dict[str, Callable[[str], bytes]] = {
            "StreamAggregatedResources": discovery,
            "DeltaAggregatedResources": delta_discovery,
        }
        method = garbage.chance.choice(sorted(methods))
        first = [methods[method](kind)] * garbage.chance.randint(0, 1)
        raw = [*first, *(garbage.unlike(methods[method](kind)) for _ in range(3))]
        await self._heard(method, self._many(DISCOVERY + method, raw), broken=False)

    async def _one(self, call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], raw: bytes) -> None:
        await call(raw, timeout=5)

    async def _many(self, method: str, raw: list[bytes]) -> None:
        call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(method)

        async def requests() -> AsyncIterator[bytes]:
            for each in raw:
                yield each

        async for _ in call(requests(), timeout=0.2):
            pass

    async def _heard(self, what: str, call: Awaitable[None], *, broken: bool) -> None:
        try:
            await call
            status, said = "OK", ""
        except grpc.aio.AioRpcError as error:
            status, said = error.code().name, error.details() or ""
        self.answers[f"{what} {status}"] += 1
        refused = status == "INVALID_ARGUMENT" or NOT_THEIRS in said
        if (broken and not refused) or (status not in SOUND | OURS and NOT_THEIRS not in said):
            self.wrong[f"{what}: {status} ({said})"] += 1


def parses(kind: type[Message], raw: bytes) -> bool:
    try:
        kind.FromString(raw)
    except DecodeError:
        return False
    return True


async def well_formed(target: str, number: int) -> None:
    """An agent that registers and a data plane that is sent what it asks for."""
    async with rpc.channel(target) as channel, asyncio.TaskGroup() as group:
        call = stubs.RegistrationServiceStub(channel).Register()
        await call.write(wire.RegisterRequest(node=node(number, "swarm"), revision=1))
        answer = await call.read()
        assert isinstance(answer, wire.RegisterResponse)
        assert answer.lease_duration.seconds > 0
        plane = DataPlane(number, 1)
        running = group.create_task(plane.run(channel))
        await plane.complete.wait()
        running.cancel()
        call.cancel()


async def test_malformed_messages_are_refused_and_everybody_else_is_served(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    layout = Layout(tmp_path)
    async with control_plane(layout) as process, asyncio.timeout(SECONDS + 60):
        target = f"unix:{layout.control_grpc}"
        await well_formed(target, 1)
        async with rpc.channel(target) as channel:
            fuzzer = Fuzzer(channel)
            before = resident(process)
            async with asyncio.TaskGroup() as group:
                for number in range(WORKERS):
                    group.create_task(fuzzer.run(Garbage(number), SECONDS))
        for number in (2, 3):  # an Envoy and a gRPC library
            await well_formed(target, number)
        assert process.is_running()
        grown = resident(process) - before
    record_property("answers", dict(fuzzer.answers))
    assert not fuzzer.wrong
    for method in ("Announce", "Register", "StreamAggregatedResources", "DeltaAggregatedResources"):
        assert fuzzer.answers[f"{method} INVALID_ARGUMENT"]
    assert grown < 100
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert "[error" not in log
