"""A request that kills whatever runs it, and comes again and again: row 40."""

from __future__ import annotations

import asyncio
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


async def _sent(front: Any) -> grpc.StatusCode:
    try:
        await front.ModelInfer(_request("DIE"), timeout=2)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _request(word: str) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=_MODEL, id=uuid4().hex)
    request.inputs.add(name="word", datatype="BYTES", shape=[1]).contents.bytes_contents.append(word.encode())
    return request
