"""A small world of real parts for the xDS tests: resources, a control plane, Envoys, upstream servers and load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
from aiohttp import web
from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType, ClusterEdsClusterConfig
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    Locality,
    SocketAddress,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.listener.v3 import ApiListener, Filter, FilterChain, Listener
from envoy_data_plane.envoy.config.route.v3 import Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)
from envoy_data_plane.google.protobuf import Any as Packed

from inferno_proxy.publishing.snapshot import Dialect, Resource, ResourceType, Snapshot
from inferno_proxy.xds.ads_service import AdsService
from inferno_proxy.xds.clients import ClientEvent, ClientTable
from inferno_proxy.xds.order import Bounds
from inferno_runtime import process, rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.latest import Latest
from tests.gates import gate
from tests.waiting import eventually

Snapshots = Latest[Mapping[Dialect, Snapshot]]
HEALTH_PATH, HEALTH_DELAY = "/health", 0.2
_ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def packed(url: str, message: Any) -> Packed:
    return Packed(type_url=url, value=bytes(message))


def cluster(name: str, **fields: Any) -> Resource:
    message = Cluster(
        name=name,
        type=ClusterDiscoveryType.EDS,
        eds_cluster_config=ClusterEdsClusterConfig(eds_config=_ADS, service_name=name),
        **fields,
    )
    return Resource.of(name, bytes(message))


def endpoints(name: str, ports: Sequence[int]) -> Resource:
    hosts = [
        LbEndpoint(
            endpoint=Endpoint(address=Address(socket_address=SocketAddress(address="127.0.0.1", port_value=port)))
        )
        for port in ports
    ]
    # gRPC wants a locality with a weight.
    locality = LocalityLbEndpoints(locality=Locality(zone="z"), lb_endpoints=hosts, load_balancing_weight=1)
    message = ClusterLoadAssignment(cluster_name=name, endpoints=[locality] if hosts else [])
    return Resource.of(name, bytes(message))


def routes(name: str, target: str) -> Resource:
    host = VirtualHost(
        name="all",
        domains=["*"],
        routes=[Route(match=RouteMatch(prefix=""), route=RouteAction(cluster=target))],
    )
    return Resource.of(name, bytes(RouteConfiguration(name=name, virtual_hosts=[host])))


def listener(name: str, port: int | None, *, stat_prefix: str = "public") -> Resource:
    """A listener on a port or, without one, the listener of a proxyless client."""
    manager = packed(
        _MANAGER,
        HttpConnectionManager(
            stat_prefix=stat_prefix,
            rds=Rds(config_source=_ADS, route_config_name=name),
            http_filters=[HttpFilter(name="router", typed_config=packed(_ROUTER, Router()))],
        ),
    )
    if port is None:
        return Resource.of(name, bytes(Listener(name=name, api_listener=ApiListener(api_listener=manager))))
    message = Listener(
        name=name,
        address=Address(socket_address=SocketAddress(address="127.0.0.1", port_value=port)),
        filter_chains=[FilterChain(filters=[Filter(name="http", typed_config=manager)])],
    )
    return Resource.of(name, bytes(message))


def snapshot(serial: int, *resources: tuple[ResourceType, Resource]) -> Snapshot:
    by_type: dict[ResourceType, dict[str, Resource]] = {kind: {} for kind in ResourceType}
    for kind, resource in resources:
        by_type[kind][resource.name] = resource
    return Snapshot(serial, MappingProxyType(by_type))


@dataclass
class Mesh:
    """What the data plane shall do; ``publish`` makes it so."""

    port: int
    clusters: dict[str, list[int]] = field(default_factory=dict)
    target: str = ""
    cluster_fields: dict[str, Any] = field(default_factory=dict)
    stat_prefix: str = "public"
    extra: list[tuple[ResourceType, Resource]] = field(default_factory=list)

    def snapshot(self, serial: int) -> Snapshot:
        return snapshot(
            serial,
            *((ResourceType.CLUSTER, cluster(name, **self.cluster_fields)) for name in self.clusters),
            *((ResourceType.ENDPOINT, endpoints(name, ports)) for name, ports in self.clusters.items()),
            (ResourceType.LISTENER, listener("public", self.port, stat_prefix=self.stat_prefix)),
            (ResourceType.ROUTE, routes("public", self.target)),
            *self.extra,
        )


class ControlPlane:
    """An ADS server on a Unix socket that can be stopped and started again."""

    def __init__(self, address: str, snapshots: Snapshots, *, bounds: Bounds | None = None) -> None:
        self.address = address
        self.snapshots = snapshots
        self.events: list[ClientEvent] = []
        self._bounds = bounds
        self._stack = contextlib.AsyncExitStack()
        self.clients: ClientTable
        self.ads: AdsService

    async def __aenter__(self) -> ControlPlane:
        self.clients = ClientTable(SystemClock(), report=self.events.append)
        self.clients.published(max((s.serial for s in self.snapshots.value.values()), default=0))
        self.ads = AdsService(self.snapshots, self.clients, SystemClock(), gate(), bounds=self._bounds)
        server = rpc.server()
        self.ads.register(server)
        rpc.bind(server, self.address)
        self._stack.push_async_callback(server.stop, 0.5)
        await self._stack.enter_async_context(self.ads)
        await server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def publish(self, made: Snapshot, dialect: Dialect = Dialect.ENVOY) -> None:
        self.clients.published(made.serial)
        self.snapshots.set({**self.snapshots.value, dialect: made})

    async def applied(self, serial: int, within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            await self.clients.applied.wait_for(lambda applied: applied >= serial)


class Envoy:
    """A real Envoy that takes its configuration from a control plane on a Unix socket."""

    def __init__(self, directory: Path, control: str, *, variant: str) -> None:
        self.variant = variant
        self._admin = directory / "admin.sock"
        self._config = directory / "bootstrap.json"
        self._log = directory / "envoy.log"
        self._config.write_text(json.dumps(self._bootstrap(control, variant)))
        self._process: asyncio.subprocess.Process | None = None

    def _bootstrap(self, control: str, variant: str) -> dict[str, object]:
        backoff = {"base_interval": "0.1s", "max_interval": "1s"}
        grpc_service = {"envoy_grpc": {"cluster_name": "xds", "retry_policy": {"retry_back_off": backoff}}}
        pipe = {"pipe": {"path": control.removeprefix("unix:")}}
        http2 = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
        return {
            "node": {"id": f"envoy-{variant}", "cluster": "test"},
            "admin": {"address": {"pipe": {"path": str(self._admin), "mode": 0o600}}},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC" if variant == "delta" else "GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [grpc_service],
                },
                "cds_config": {"ads": {}, "resource_api_version": "V3"},
                "lds_config": {"ads": {}, "resource_api_version": "V3"},
            },
            "static_resources": {
                "clusters": [
                    {
                        "name": "xds",
                        "type": "STATIC",
                        "typed_extension_protocol_options": http2,
                        "load_assignment": {
                            "cluster_name": "xds",
                            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe}}]}],
                        },
                    }
                ]
            },
        }

    async def __aenter__(self) -> Envoy:
        program = Path(sys.executable).with_name("envoy")
        arguments = [str(program), "-c", str(self._config), "--disable-hot-restart", "--concurrency", "1"]
        arguments += ["--log-path", str(self._log), "--log-level", os.environ.get("ENVOY_LOG_LEVEL", "info")]
        self._process = await process.spawn(arguments, die_with_parent=signal.SIGKILL)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await process.terminate(self._process, grace=5.0)

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def admin(self, path: str) -> str:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._admin))) as session,
            session.get(f"http://admin{path}") as answer,
        ):
            return await answer.text()

    async def ready(self, within: float = 10.0) -> None:
        async def live() -> bool:
            try:
                return (await self.admin("/ready")).strip() == "LIVE"
            except aiohttp.ClientError:
                return False

        await eventually(live, within, "Envoy is live")

    async def clusters(self) -> set[str]:
        """Names of the dynamic clusters that are warm."""
        dump = json.loads(await self.admin("/config_dump?resource=dynamic_active_clusters"))
        return {config["cluster"]["name"] for config in dump.get("configs", ())}

    async def warming(self) -> set[str]:
        dump = json.loads(await self.admin("/config_dump?resource=dynamic_warming_clusters"))
        return {config["cluster"]["name"] for config in dump.get("configs", ())}


@contextlib.asynccontextmanager
async def upstream(name: str, *, port: int = 0) -> AsyncIterator[int]:
    """An HTTP server that answers with its name, and only after a moment on its health path; yields its port."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == HEALTH_PATH:
            await asyncio.sleep(HEALTH_DELAY)
        return web.Response(text=name)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@dataclass
class Load:
    """Requests one after the other in a few lanes; what came back, and what failed."""

    port: int
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    pause: float = 0.005

    async def _lane(self, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{self.port}/") as answer:
                    text = await answer.text()
                    (self.answers if answer.status == 200 else self.failures).append(text or str(answer.status))
            except aiohttp.ClientError as error:
                self.failures.append(repr(error))
            await asyncio.sleep(self.pause)

    @contextlib.asynccontextmanager
    async def running(self, lanes: int = 2) -> AsyncIterator[Load]:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._lane(session)) for _ in range(lanes)]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()

    async def more(self, count: int, within: float = 10.0, where: Callable[[str], bool] = lambda _: True) -> None:
        """Wait for ``count`` more answers that satisfy ``where``."""
        start = len(self.answers)
        await eventually(
            lambda: sum(map(where, self.answers[start:])) >= count,
            within,
            f"{count} more answers (failed: {self.failures[:3]})",
        )
