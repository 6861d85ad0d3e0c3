"""A request that kills whatever runs it, a server or a model's process, and comes again and again: row 40."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from uuid import uuid4

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import after, mesh_of, settled

_MODEL = "brittle"
# How often its caller sends it, and how many seconds lie between.
_TIMES = 12
_EVERY = 1.0


async def query_of_death(cloud: Cloud, path: Route) -> Measured:
    """Row 40: the request is sent every second, each time under another id, until it is refused, and once more
    when all nodes are back. ``detected``: the time from its first try to its first refusal."""
    refused = None
    async with mesh_of(cloud) as view, grpc.aio.insecure_channel(path.target) as channel:
        front = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await settled(cloud, view)
        await front.ModelInfer(_request("live"), timeout=5)
        servers = {each.pid for each in cloud.tritons()}
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            for _ in range(_TIMES):
                if await _sent(front) is grpc.StatusCode.FAILED_PRECONDITION:
                    refused = time.monotonic() - since
                    break
                await asyncio.sleep(_EVERY)
                servers |= {each.pid for each in cloud.tritons()}
            await settled(cloud, view)
            recovered = time.monotonic() - since
            last = await _sent(front) if refused else grpc.StatusCode.OK
            await front.ModelInfer(_request("live"), timeout=5)
            report = await after(running, 1)
    lost = len(servers - {each.pid for each in cloud.tritons()})
    return Measured(report, refused, recovered, lost=lost, note=f"{lost} servers died, then {last.name}")


async def process_death(cloud: Cloud, path: Route) -> Measured:
    """Row 40, of a request that kills the process of its model: sent every second until it is refused.

    ``detected``: the time from its first try to its first refusal. ``lost``: calls that took a process with them, or
    met none. ``recovered``: until the model serves again.
    """
    refused, lost = None, 0
    async with mesh_of(cloud) as view, grpc.aio.insecure_channel(path.target) as channel:
        front = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await settled(cloud, view)
        await front.ModelInfer(_request("live"), timeout=5)
        async with load(path.target, env=path.env) as running:
            since = time.monotonic()
            for _ in range(_TIMES):
                if await _sent(front, "CRASH") is grpc.StatusCode.FAILED_PRECONDITION:
                    refused = time.monotonic() - since
                    break
                lost += 1
                await asyncio.sleep(_EVERY)
            last = await _sent(front, "CRASH")
            recovered = await _lives(front, since)
            report = await after(running, 1)
    return Measured(report, refused, recovered, lost=lost, note=f"{lost} processes lost, then {last.name}")


async def _lives(front: Any, since: float) -> float | None:
    """When a harmless request is answered, in seconds; None when none is within ten tries."""
    for _ in range(10):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await front.ModelInfer(_request("live"), timeout=5)
            return time.monotonic() - since
        await asyncio.sleep(_EVERY)
    return None


async def _sent(front: Any, word: str = "DIE") -> grpc.StatusCode:
    try:
        await front.ModelInfer(_request(word), timeout=2)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _request(word: str) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=_MODEL, id=uuid4().hex)
    request.inputs.add(name="word", datatype="BYTES", shape=[1]).contents.bytes_contents.append(word.encode())
    return request
