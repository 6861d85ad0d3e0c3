"""Calls of high priority when a limit is reached, on a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Traffic, TrafficTable
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view
from tests.waiting import eventually

HEADER = "x-inferno-priority"
HIGH = ((HEADER, "high"),)


async def test_when_a_limit_is_reached_ordinary_calls_are_refused_first(socket_dir: Path) -> None:
    routing = RoutingSettings(TrafficTable({"m": Traffic(max_concurrency=5)}))
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(Server("n1")))
        address = await stack.enter_async_context(
            proxied(
                socket_dir,
                view(member(server, [model("m")])),
                routing=routing,
                priority_header=HEADER,
                asked_for=(HEADER,),
            )
        )
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://{address}"))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = pb.ModelInferRequest(model_name="m")

        async def rest(**headers: str) -> int:
            async with http.post("/v2/models/m/infer", json={"inputs": []}, headers=headers) as answer:
                return answer.status

        await stub.ModelInfer(request)
        server.proceed.clear()
        ordinary = [stub.ModelInfer(request) for _ in range(4)]
        waiting = [asyncio.create_task(rest(**{HEADER: "low"})) for _ in range(4)]
        await eventually(lambda: len(server.calls) == 9, within=5, what="ordinary calls take four fifths of the limit")
        assert await rest() == 429
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelInfer(request)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        high = [stub.ModelInfer(request, metadata=HIGH) for _ in range(5)]
        rest_high = [asyncio.create_task(rest(**{HEADER: "High"})) for _ in range(5)]
        await eventually(lambda: len(server.calls) == 19, within=5, what="those of high priority have one of their own")
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ModelInfer(request, metadata=HIGH)
        server.proceed.set()
        await asyncio.gather(*ordinary, *high)
        assert await asyncio.gather(*waiting, *rest_high) == [200] * 9
