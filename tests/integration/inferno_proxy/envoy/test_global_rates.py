"""Rate limits that a service counts for all proxies, over the wire protocol of Envoy's rate limit service."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from envoy_data_plane.envoy.service.ratelimit.v3 import (
    RateLimitRequest,
    RateLimitResponse,
    RateLimitResponseCode,
)
from envoy_data_plane.envoy.type.v3 import RateLimitUnit
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.fleet import Address
from inferno_proxy.routing.plan import RoutingSettings
from inferno_proxy.routing.traffic import Per, Rate, Scope, Traffic, TrafficTable
from tests.integration.inferno_proxy.envoy.world import Server, member, model, proxied, serving, view

Entries = tuple[tuple[str, str], ...]


class Counting:
    """A rate limit service: it allows each descriptor as many calls, in all, as the limit that came with it. ``asked``
    is what it was told; it answers nothing while ``answers`` is not set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Entries, int, RateLimitUnit]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.port = 0
        self.stop: Callable[[], Awaitable[None]]

    async def should_rate_limit(self, body: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        request = RateLimitRequest.parse(body)
        (descriptor,) = request.descriptors
        assert descriptor.limit is not None
        entries = tuple((entry.key, entry.value) for entry in descriptor.entries)
        most = descriptor.limit.requests_per_unit
        self.asked.append((request.domain, entries, most, descriptor.limit.unit))
        await self.answers.wait()
        over = Counter(known for _, known, _, _ in self.asked)[entries] > most
        return bytes(
            RateLimitResponse(overall_code=RateLimitResponseCode.OVER_LIMIT if over else RateLimitResponseCode.OK)
        )


@contextlib.asynccontextmanager
async def counting() -> AsyncIterator[Counting]:
    service = Counting()
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(service.should_rate_limit)
    handlers = {"ShouldRateLimit": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("envoy.service.ratelimit.v3.RateLimitService", handlers),)
    )
    service.port = server.add_insecure_port("127.0.0.1:0")
    service.stop = lambda: server.stop(0)
    await server.start()
    try:
        yield service
    finally:
        service.answers.set()
        await service.stop()


class Proxies:
    """Callers of the model ``m`` through two proxies."""

    def __init__(self, addresses: list[str], http: aiohttp.ClientSession) -> None:
        self._stubs = [service_pb2_grpc.GRPCInferenceServiceStub(grpc.aio.insecure_channel(a)) for a in addresses]
        self._urls = [f"http://{address}/v2/models/m/infer" for address in addresses]
        self._http = http

    async def grpc(self, proxy: int, **headers: str) -> tuple[grpc.StatusCode, str | None]:
        """The status, and what a refusal says about when to come again."""
        call = self._stubs[proxy].ModelInfer(pb.ModelInferRequest(model_name="m"), metadata=tuple(headers.items()))
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call
        metadata = dict(await call.initial_metadata() or ()) | dict(await call.trailing_metadata() or ())
        return await call.code(), metadata.get("grpc-retry-pushback-ms")

    async def rest(self, proxy: int, **headers: str) -> tuple[int, str | None]:
        """The same over REST."""
        async with self._http.post(self._urls[proxy], json={"inputs": []}, headers=headers) as response:
            return response.status, response.headers.get("retry-after")


@contextlib.asynccontextmanager
async def two_proxies(folder: Path, rate: Rate, service: Address) -> AsyncIterator[Proxies]:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(Server("n1")))
        routing = RoutingSettings(TrafficTable({"m": Traffic(rate=rate)}))
        addresses = []
        for name in ("a", "b"):
            (folder / name).mkdir()
            front = proxied(
                folder / name, view(member(server, [model("m")])), routing=routing, rate_limit_service=service
            )
            addresses.append(await stack.enter_async_context(front))
        yield Proxies(addresses, await stack.enter_async_context(aiohttp.ClientSession()))


async def test_two_proxies_share_one_limit_over_grpc_and_rest(socket_dir: Path) -> None:
    async with (
        counting() as service,
        two_proxies(socket_dir, Rate(3, 60, scope=Scope.GLOBAL), Address("localhost", service.port)) as proxies,
    ):
        found = [await proxies.grpc(0), await proxies.rest(1), await proxies.grpc(1, **{"x-inferno-model": "m"})]
        assert found == [(grpc.StatusCode.OK, None), (200, None), (grpc.StatusCode.OK, None)]
        assert await proxies.grpc(0) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "1000")
        assert await proxies.rest(1) == (429, "1")
        assert service.asked == [("inferno", (("model", "m"),), 3, RateLimitUnit.MINUTE)] * 5


async def test_the_service_is_told_who_calls(socket_dir: Path) -> None:
    rate = Rate(1, 3600, Per.HEADER, "x-api-key", Scope.GLOBAL)
    async with (
        counting() as service,
        two_proxies(socket_dir, rate, Address("127.0.0.1", service.port)) as proxies,
    ):
        keys: list[dict[str, str]] = [{"x-api-key": "a"}, {"x-api-key": "b"}, {}]
        for headers in keys:
            assert [await proxies.rest(proxy, **headers) for proxy in (0, 1)] == [(200, None), (429, "1")]
        assert [entries for _, entries, _, _ in service.asked[1::2]] == [
            (("model", "m"), ("x-api-key", "a")),
            (("model", "m"), ("x-api-key", "b")),
            (("model", "m"),),
        ]


@pytest.mark.parametrize("silent", [False, True], ids=["down", "silent"])
async def test_without_the_service_each_proxy_holds_the_limit_by_itself(socket_dir: Path, silent: bool) -> None:
    rate = Rate(2, 60, Per.ADDRESS, scope=Scope.GLOBAL)
    async with (
        counting() as service,
        two_proxies(socket_dir, rate, Address("127.0.0.1", service.port)) as proxies,
    ):
        assert await proxies.grpc(0) == (grpc.StatusCode.OK, None)
        assert [entries for _, entries, _, _ in service.asked] == [(("model", "m"), ("remote_address", "127.0.0.1"))]
        if silent:
            service.answers.clear()
        else:
            await service.stop()
        began = time.monotonic()
        assert [await proxies.rest(proxy) for proxy in (0, 0, 1, 1)] == [(200, None)] * 4
        assert time.monotonic() - began < 20
        assert [await proxies.rest(proxy) for proxy in (0, 1)] == [(429, "30")] * 2
