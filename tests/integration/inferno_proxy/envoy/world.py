"""Model servers and a control plane for the data plane tests: real sockets, no Triton.

A :class:`Server` speaks the Open Inference Protocol over gRPC and REST as far as routing can tell; it answers with its
own name and remembers what it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from inferno_proxy.call_records import Traces
from inferno_proxy.envoy.bootstrap import EnvoySettings
from inferno_proxy.envoy.process import EnvoyProcess
from inferno_proxy.envoy.standby import write_standby
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import Address, FleetView, Member, Model, ModelState, ModelVersion, Node, Phase, Source
from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.resources import ResourceSettings, build
from inferno_proxy.routing.advised import advised
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_proxy.supervisor.act import Act
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port

LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Call:
    """One call a server saw: its method, the model, the sequence id, the metadata, and the version asked for."""

    method: str
    model: str
    sequence: int | str = 0
    metadata: dict[str, str] = field(default_factory=dict)
    version: str = ""


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # untyped
    """A model server. ``failure`` makes every unary inference end with that status, ``refuse`` every REST one with 404;
    calls wait while ``proceed`` is not set, and each unary inference takes ``seconds``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[Call] = []
        self.failure: grpc.StatusCode | None = None
        self.refuse = False
        self.seconds = 0.0
        # Trailers of its answers over gRPC, headers over REST.
        self.tokens: dict[str, str] = {}
        self.address = Address("127.0.0.1", 0)
        self.http = Address("127.0.0.1", 0)
        # Ends the gRPC half at once: listening stops, calls under way are cut off.
        self.crash: Callable[[], Awaitable[None]]
        self.proceed = asyncio.Event()
        self.proceed.set()

    def _saw(self, method: str, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        name = request.model_name if hasattr(request, "model_name") else request.name
        parameters = getattr(request, "parameters", {})
        sequence: int | str = 0
        if "sequence_id" in parameters:
            sequence = parameters["sequence_id"].int64_param or parameters["sequence_id"].string_param
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        version = request.model_version if hasattr(request, "model_version") else request.version
        self.calls.append(Call(method, name, sequence, metadata, version))

    async def ModelInfer(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        self._saw("ModelInfer", request, context)
        await self.proceed.wait()
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            await context.abort(self.failure, f"{self.name} fails")
        size = sum(map(len, request.raw_input_contents))
        if self.tokens:
            context.set_trailing_metadata(tuple(self.tokens.items()))
        response = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
        response.parameters["node"].string_param = self.name
        response.parameters["bytes"].int64_param = size
        return response

    async def ModelStreamInfer(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._saw("ModelStreamInfer", request, context)
            answer = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            answer.parameters["node"].string_param = self.name
            yield pb.ModelStreamInferResponse(infer_response=answer)

    async def ModelReady(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        self._saw("ModelReady", request, context)
        return pb.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        self._saw("ModelMetadata", request, context)
        return pb.ModelMetadataResponse(name=request.name, platform=self.name)

    async def ModelConfig(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        self._saw("ModelConfig", request, context)
        return pb.ModelConfigResponse()

    def rest(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v2/models/{model}/ready", self._ready)
        app.router.add_get("/v2/models/{model}", self._metadata)
        app.router.add_post("/v2/models/{model}/infer", self._infer)
        app.router.add_post("/v2/models/{model}/versions/{version}/infer", self._infer)
        app.router.add_post("/v2/models/{model}/generate_stream", self._generate)
        return app

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response(status=400 if self.refuse else 200)

    async def _metadata(self, request: web.Request) -> web.Response:
        return web.json_response({"name": request.match_info["model"], "platform": self.name})

    async def _infer(self, request: web.Request) -> web.Response:
        body = await request.read()
        length = int(request.headers.get("Inference-Header-Content-Length", len(body)))
        asked = json.loads(body[:length])
        sequence = asked.get("parameters", {}).get("sequence_id", 0)
        version = request.match_info.get("version", "")
        self.calls.append(Call("infer", request.match_info["model"], sequence, dict(request.headers), version))
        await self.proceed.wait()
        if self.refuse:
            return web.json_response({"error": "no available versions"}, status=404)
        answer = {"model_name": request.match_info["model"], "node": self.name, "bytes": len(body)}
        return web.json_response(answer, headers=self.tokens)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for word in ("one", "two"):
            await response.write(f"data: {word}\n\n".encode())
            self.proceed.clear()
            await self.proceed.wait()
        return response


@contextlib.asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """Run a model server on loopback ports of its own."""
    rpc = grpc.aio.server(options=LIMITS)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(server, rpc)
    checks = health.aio.HealthServicer()
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, rpc)
    server.address = Address("127.0.0.1", rpc.add_insecure_port("127.0.0.1:0"))
    runner = web.AppRunner(server.rest())
    await rpc.start()
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.http = Address("127.0.0.1", runner.addresses[0][1])
    server.crash = lambda: rpc.stop(0)
    try:
        yield server
    finally:
        server.proceed.set()
        await runner.cleanup()
        await rpc.stop(0)


class Control(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # untyped
    """The fleet-wide half of the control plane: says that it was reached."""

    async def ServerMetadata(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        return pb.ServerMetadataResponse(name="control plane")

    async def ServerReady(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Not ready for a call that brings a credential, which has no business here."""
        sent = {key for key, _ in context.invocation_metadata() or ()}
        return pb.ServerReadyResponse(ready=not sent & {"authorization", "x-api-key"})

    async def ModelStatistics(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        return pb.ModelStatisticsResponse(model_stats=[pb.ModelStatistics(name="control plane")])

    async def page(self, request: web.Request) -> web.Response:
        return web.json_response({"control": request.path})


@contextlib.asynccontextmanager
async def controlling(directory: Path) -> AsyncIterator[None]:
    """Run a control plane's two sockets."""
    control = Control()
    rpc = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(control, rpc)
    rpc.add_insecure_port(f"unix:{directory / 'control.sock'}")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", control.page)
    runner = web.AppRunner(app)
    await rpc.start()
    await runner.setup()
    await web.UnixSite(runner, str(directory / "http.sock")).start()
    try:
        yield
    finally:
        await runner.cleanup()
        await rpc.stop(0)


def member(
    server: Server,
    models: Sequence[Model],
    *,
    phase: Phase = Phase.SERVING,
    zone: str = "",
    region: str = "",
    since: float = 0.0,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> Member:
    """A node of the fleet at a server's addresses."""
    node = Node(
        server.name, 1, server.address, server.http, models=tuple(models), region=region, zone=zone, labels=labels
    )
    return Member(node, phase, Source.AGENT, since)


def model(name: str, *, stateful: bool = False, state: ModelState = ModelState.READY) -> Model:
    """A model with one version."""
    return Model(name, (ModelVersion("1", state),), stateful=stateful)


def view(*members: Member) -> FleetView:
    """A fleet of these members."""
    return FleetView(1, {m.node.node_id: m for m in members})


def resource_settings(directory: Path, listen: Address, *, healing: bool = True) -> ResourceSettings:
    """Settings with the control plane's sockets in ``directory``."""
    return ResourceSettings(
        str(directory / "control.sock"), str(directory / "http.sock"), listen=listen, healing=healing
    )


@contextlib.asynccontextmanager
async def proxied(
    directory: Path,
    fleet: FleetView,
    *,
    healing: bool = True,
    routing: RoutingSettings | None = None,
    rate_limit_service: Address | None = None,
    priority_header: str = "",
    access_log: str = "",
    traces: Traces | None = None,
    advice: Advice | None = None,
    report: Callable[[Act], None] = lambda _: None,
    **more: Any,
) -> AsyncIterator[str]:
    """An Envoy in front of a fleet, from a standby file; yields its public address. ``more`` are fields of the
    :class:`ResourceSettings`."""
    listen = Address("127.0.0.1", free_port())
    settings = EnvoySettings(directory, directory / "control.sock", listen, workers=1)
    routing = routing or RoutingSettings()
    resources = replace(
        resource_settings(directory, listen, healing=healing),
        rate_limits=routing.traffic.limits_rates,
        size_limits=routing.traffic.limits_sizes,
        rate_limit_service=rate_limit_service,
        aliases=bool(routing.aliases),
        priority_header=priority_header,
        access_log=access_log,
        traces=traces,
        **more,
    )
    built = build(advised(plan(fleet, routing), advice or Advice()), resources, 1, {})
    write_standby(settings.standby_file, built[Dialect.ENVOY])
    async with EnvoyProcess(settings, Latest(initial=False), report=report, grace=0.5):
        yield str(listen)
