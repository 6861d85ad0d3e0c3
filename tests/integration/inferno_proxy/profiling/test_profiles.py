"""Profiles of a proxy that serves, over real connections."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from inferno.profile.v1 import profile_service_pb2 as wire
from inferno.profile.v1 import profile_service_pb2_grpc as stubs
from tests.integration.inferno_proxy.control import Control
from tests.integration.inferno_proxy.proxies import proxy
from tests.waiting import eventually

INFERNO = str(Path(sys.executable).with_name("inferno"))


def asked(subject: wire.Subject.ValueType, seconds: float = 0.1) -> wire.RecordRequest:
    request = wire.RecordRequest(subject=subject)
    request.duration.FromMilliseconds(round(seconds * 1000))
    return request


async def record(plane: Control, subject: wire.Subject.ValueType) -> bytes:
    call = stubs.ProfileServiceStub(plane.channel).Record(asked(subject), timeout=60)
    return b"".join([piece.chunk async for piece in call])


async def test_the_control_planes_stacks_are_recorded_and_noted(plane: Control) -> None:
    lines = (await record(plane, wire.SUBJECT_CONTROL_PLANE)).decode().splitlines()
    assert any(line.startswith("MainThread;") and "asyncio" in line for line in lines)
    assert all(line.rpartition(" ")[2].isdigit() for line in lines)
    [noted] = [json.loads(line) for line in plane.audit.read_text().splitlines()]
    assert (noted["action"], noted["subject"], noted["detail"]) == ("PROFILE", "control-plane", "0.1 s")


async def test_one_profile_is_recorded_at_a_time(plane: Control) -> None:
    stub = stubs.ProfileServiceStub(plane.channel)
    first = stub.Record(asked(wire.SUBJECT_CONTROL_PLANE, 60))
    await eventually(plane.audit.exists, 5, "the first one has begun")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await record(plane, wire.SUBJECT_CONTROL_PLANE)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    first.cancel()


@pytest.mark.parametrize("subject", [wire.SUBJECT_ENVOY_HEAP, wire.SUBJECT_ENVOY_ALLOCATIONS])
async def test_an_envoy_that_is_not_there_or_cannot_is_no_profile(
    plane: Control, subject: wire.Subject.ValueType
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="No local Envoy runs"):
        await record(plane, subject)
    application = web.Application()

    async def cannot(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=501)
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        await answer.write(b"not in this build\n")
        return answer

    application.router.add_route("*", "/{path:.*}", cannot)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(plane.audit.parent / "envoy-admin-0.sock")).start()
    try:
        with pytest.raises(grpc.aio.AioRpcError, match="Envoy does not record: not in this build"):
            await record(plane, subject)
    finally:
        await runner.cleanup()


async def test_an_operator_records_a_running_proxy_from_the_command_line(socket_dir: Path) -> None:
    async with proxy(socket_dir) as running:
        for subject in ("control-plane", "envoy-heap", "envoy-allocations"):
            file = socket_dir / subject
            command = [INFERNO, "profile", "--endpoint", running.endpoint, "--of", subject, "--seconds", "0.2"]
            command += ["-o", str(file)]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert f"in {file}" in done.stderr
            profile = file.read_bytes()
            assert profile if subject == "control-plane" else gzip.decompress(profile)
