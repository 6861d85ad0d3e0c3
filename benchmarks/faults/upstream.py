"""A node that answers with errors while its health checks pass: rows 6 and 7."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import grpc

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.view import RECOVERY, Mesh, after, mesh_of, settled

_INFER = "/inference.GRPCInferenceService/ModelInfer"
NODE = "faulty"


class Relay(grpc.GenericRpcHandler):
    """Passes every unary call on to a model server; inferences that ``fails`` says are to fail end with ``status``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.fails: Callable[[], bool] = lambda: False
        self.called = asyncio.Event()
        self.failures: list[float] = []
        # Seconds by which inferences are held up, and how many there were.
        self.delay = 0.0
        self.calls = 0
        self.status = grpc.StatusCode.UNAVAILABLE
        self._channel = channel

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of any method, which sees bytes."""
        return grpc.unary_unary_rpc_method_handler(partial(self._pass_on, details.method))

    async def _pass_on(self, method: str, body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if method == _INFER:
            self.called.set()
            self.calls += 1
            await asyncio.sleep(self.delay)
            if self.fails():
                self.failures.append(time.monotonic())
                await context.abort(self.status, "this node fails on purpose")
        try:
            call: Callable[..., Awaitable[bytes]] = self._channel.unary_unary(method)
            answer = await call(body, timeout=5)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        return answer


@asynccontextmanager
async def relay(address: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay to a model server, and its own address."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        handler = Relay(channel)
        server = grpc.aio.server(handlers=[handler], options=[("grpc.so_reuseport", 0)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield handler, f"127.0.0.1:{port}"
        finally:
            await server.stop(0)


def ask(method: str, url: str, body: object = None) -> None:
    """One call of a REST interface that must succeed."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


@asynccontextmanager
async def beside(cloud: Cloud, view: Mesh, address: str) -> AsyncIterator[None]:
    """A node more, without an agent, at this address; it leaves at the end."""
    registration = f"http://{cloud.endpoint}/register"
    await asyncio.to_thread(ask, "POST", registration, {"node_id": NODE, "grpc_address": address})
    try:
        yield
    finally:
        await asyncio.to_thread(ask, "DELETE", f"{registration}/{NODE}")
        await view.until(lambda nodes: NODE not in nodes, RECOVERY, "the node beside has left")


def quiet_after(moments: Iterable[float]) -> float | None:
    """The last moment before a second without any; None for no moments."""
    for before, at in itertools.pairwise([*moments, float("inf")]):
        if at - before > 1:
            return before
    return None


async def _failing(cloud: Cloud, path: Route, fails: Callable[[], bool]) -> tuple[Measured, Relay]:
    """Run a load for four seconds with a fourth node of which these inferences fail."""
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        real = min(one.node.grpc_address for one in (await view.nodes()).values())
        async with (
            relay(real) as (faulty, address),
            beside(cloud, view, address),
            load(path.target, env=path.env) as running,
        ):
            async with asyncio.timeout(RECOVERY):
                await faulty.called.wait()
            faulty.fails = fails
            report = await after(running, 4)
    return Measured(report, note=f"{len(faulty.failures)} calls answered with UNAVAILABLE"), faulty


async def node_fails_a_tenth(cloud: Cloud, path: Route) -> Measured:
    """Row 6: every tenth call to one node is answered with UNAVAILABLE."""
    number = itertools.count(1)
    measured, _ = await _failing(cloud, path, lambda: next(number) % 10 == 0)
    return measured


async def node_fails_always(cloud: Cloud, path: Route) -> Measured:
    """Row 7: one node answers every call with UNAVAILABLE. ``detected``: from its first to its last such answer before
    it is left alone."""
    measured, faulty = await _failing(cloud, path, lambda: True)
    last = quiet_after(faulty.failures)
    detected = None if last is None else last - faulty.failures[0]
    return Measured(measured.report, detected, note=measured.note)
