"""More than a fleet can do: rows 34 (calls beyond its capacity) and 41 (every node fails)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, load
from benchmarks.faults.fault import Measured, Route
from benchmarks.faults.upstream import ask
from benchmarks.faults.view import RECOVERY, Away, Mesh, after, mesh_of, settled
from benchmarks.load import whoami_request

# Row 34: milliseconds of work in a call, seconds of overload, seconds a caller waits.
_WORK_MS = 50
_OVERLOAD = 12
_PATIENCE = 2.0
UNLIMITED = "proxy:\n  models:\n    whoami: {max_wait: 0}\n"
# Row 41: its model, calls a second, and seconds of brown-out.
_MODEL = "brownout"
_RATE = 100
_BROWN_OUT = 10
GOODPUT, REFUSAL, TRIES = "goodput as part of the capacity", "s until a refusal (p99)", "tries for each call"


async def overloaded(cloud: Cloud, path: Route) -> Measured:
    """Row 34: three times the calls the fleet can do, with 50 ms of work each, for twelve seconds.

    What a fleet can do is measured with as many callers as keep it busy. A refusal's time is what its caller sees, less
    what the caller sees of an answer that the proxy itself gives at rest (the 99th percentile of both).
    """
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        async with load(path.target, model="none", rate=50, env=path.env, warm=False) as running:
            idle = await after(running, 3)
        capacity = await _capacity(path, callers=4 * len(cloud.nodes), seconds=4)
        began = time.time()
        async with load(path.target, rate=3 * capacity, hold_ms=_WORK_MS, timeout=_PATIENCE, env=path.env) as running:
            report = await after(running, _OVERLOAD)
        acts = await _acts(view, began)
    (_, usual), (_, refusal) = idle.took["NOT_FOUND"], report.took.get("RESOURCE_EXHAUSTED", (0.0, 0.0))
    lasted = report.sent / (3 * capacity) + report.took["OK"][0]
    figures = {GOODPUT: report.succeeded / lasted / capacity, REFUSAL: max(0.0, refusal - usual)}
    answered = report.took["OK"]
    note = (
        f"{capacity:.0f} calls/s are possible, {report.statuses}; answers took {answered[0]:.2f} s (p50) and "
        f"{answered[1]:.2f} s (p99), refusals {_ms(report.took.get('RESOURCE_EXHAUSTED'))}, an answer of the proxy at "
        f"rest {_ms(idle.took['NOT_FOUND'])}; {acts}"
    )
    return Measured(report, figures=figures, note=note)


async def _acts(view: Mesh, began: float) -> str:
    """When shedding began and ended since, and what it was judged by."""
    events = [*await view.events("OVERLOAD_SHEDDING"), *await view.events("OVERLOAD_OVER")]
    times = ((each.time.ToNanoseconds() / 1e9 - began, each) for each in events)
    return (
        "; ".join(f"{each.kind} after {at:.1f} s: {each.evidence}, {each.effect}" for at, each in times if at > 0)
        or "no call was refused by a limit"
    )


def _ms(took: tuple[float, float] | None) -> str:
    return "none" if took is None else f"{took[0] * 1000:.1f} ms (p50) and {took[1] * 1000:.1f} ms (p99)"


async def _capacity(path: Route, *, callers: int, seconds: float) -> float:
    """Calls that end in a second while each of so many callers has one under way."""
    ended = 0
    until = time.monotonic() + seconds

    async def call(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
        nonlocal ended
        while time.monotonic() < until:
            await stub.ModelInfer(whoami_request("whoami", _WORK_MS), timeout=5)
            ended += time.monotonic() < until

    async with grpc.aio.insecure_channel(path.target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        await asyncio.gather(*(call(stub) for _ in range(callers)))
    return ended / seconds


class _Server(grpc.GenericRpcHandler):
    """A model server that is no Triton; while ``fails`` it answers every inference with UNAVAILABLE."""

    _SERVICE = "/inference.GRPCInferenceService/"

    def __init__(self) -> None:
        self.fails = False
        self.tries = 0
        self._said: dict[str | bytes, Message] = {
            "/grpc.health.v1.Health/Check": health_pb2.HealthCheckResponse(
                status=health_pb2.HealthCheckResponse.SERVING
            ),
            f"{self._SERVICE}ServerMetadata": service_pb2.ServerMetadataResponse(name="stand-in", version="1"),
            f"{self._SERVICE}ModelReady": service_pb2.ModelReadyResponse(ready=True),
            f"{self._SERVICE}ModelInfer": service_pb2.ModelInferResponse(model_name=_MODEL),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler of a method, which sees bytes; none for what such a server does not have."""
        if details.method not in self._said:
            return None
        infers = details.method == f"{self._SERVICE}ModelInfer"
        return grpc.unary_unary_rpc_method_handler(self._infer if infers else partial(self._say, details.method))

    async def _infer(self, _body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.tries += 1
        if self.fails:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this node fails on purpose")
        return self._said[f"{self._SERVICE}ModelInfer"].SerializeToString()

    async def _say(self, method: str, _body: bytes, _context: object) -> bytes:
        return self._said[method].SerializeToString()


@asynccontextmanager
async def _fleet(cloud: Cloud, view: Mesh) -> AsyncIterator[list[_Server]]:
    """Three nodes more, without agents, that alone have a model; they leave at the end."""
    servers = [_Server() for _ in range(3)]
    names = [f"{_MODEL}-{number}" for number in range(3)]
    registration = f"http://{cloud.endpoint}/register"
    async with AsyncExitStack() as stack:
        for name, server in zip(names, servers, strict=True):
            port = await stack.enter_async_context(_listening(server))
            node = {"node_id": name, "grpc_address": f"127.0.0.1:{port}", "models": [_MODEL]}
            await asyncio.to_thread(ask, "POST", registration, node)
        try:
            yield servers
        finally:
            for name in names:
                await asyncio.to_thread(ask, "DELETE", f"{registration}/{name}")
            await view.until(lambda nodes: not nodes.keys() & set(names), RECOVERY, "the nodes have left")


@asynccontextmanager
async def _listening(handler: _Server) -> AsyncIterator[int]:
    server = grpc.aio.server(handlers=[handler], options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def browned_out(cloud: Cloud, path: Route) -> Measured:
    """Row 41: every node of a model answers every call with UNAVAILABLE for ten seconds, while its health check passes.

    ``detected`` is when calls are no longer tried again, ``recovered`` when they are again.
    """
    return await _browned_out(cloud, path, unseen=False)


async def browned_out_unseen(cloud: Cloud, path: Route) -> Measured:
    """Control of row 41: there is no control plane meanwhile."""
    return await _browned_out(cloud, path, unseen=True)


async def _browned_out(cloud: Cloud, path: Route, *, unseen: bool) -> Measured:
    async with mesh_of(cloud) as view:
        await settled(cloud, view)
        async with _fleet(cloud, view) as servers, load(path.target, model=_MODEL, rate=_RATE, env=path.env) as running:
            await asyncio.sleep(1)
            away = Away(lambda: cloud.find("inferno_proxy.control_plane"))
            if unseen:
                cloud.control_plane().kill()
            before = sum(server.tries for server in servers)
            _fail(servers, fails=True)
            try:
                detected, _ = await asyncio.gather(
                    _told(view, "BROWN_OUT", _BROWN_OUT, unseen=unseen), away.hold_for(_BROWN_OUT)
                )
            finally:
                away.release()
            tries = sum(server.tries for server in servers) - before
            _fail(servers, fails=False)
            recovered = await _told(view, "BROWN_OUT_OVER", RECOVERY, unseen=unseen)
            await view.until(bool, RECOVERY, "the control plane answers")
            report = await after(running, 1)
    return Measured(report, detected, recovered, figures={TRIES: tries / (_RATE * _BROWN_OUT)})


def _fail(servers: list[_Server], *, fails: bool) -> None:
    for server in servers:
        server.fails = fails


async def _told(view: Mesh, kind: str, within: float, *, unseen: bool) -> float | None:
    return None if unseen else await view.told(kind, within)
