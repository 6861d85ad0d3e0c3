"""A control plane's services on a Unix socket, without Envoy and without the process around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import grpc
from aiohttp import ClientSession, UnixConnector, web

from inferno_proxy.audit import AuditLog
from inferno_proxy.discovery.registration_service import RegistrationService
from inferno_proxy.events import EventLog
from inferno_proxy.explain.recent import RecentTries
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.learner import Learner
from inferno_proxy.feedback.observed import Counts, Try
from inferno_proxy.fleet import Address
from inferno_proxy.identity.authority_page import serve_authority
from inferno_proxy.identity.gate import Gate
from inferno_proxy.identity.identity_service import IdentityService
from inferno_proxy.identity.mesh_authority import MeshAuthority
from inferno_proxy.identity.presence import Presence
from inferno_proxy.identity.tokens import TokenStore
from inferno_proxy.metrics.control_plane import ControlPlaneCollector
from inferno_proxy.metrics.page import MetricsPage
from inferno_proxy.orders.desk import Kept, OrderDesk
from inferno_proxy.profiling.recorder import Recorder
from inferno_proxy.publishing.publisher import Recipe
from inferno_proxy.publishing.snapshot import Dialect, Snapshot
from inferno_proxy.registry.admission import Limits
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.registry import Registry
from inferno_proxy.reloading.reload import Comparison, Reloader
from inferno_proxy.reports.reporting_service import ReportingService
from inferno_proxy.resources import ResourceSettings
from inferno_proxy.resources.names import ASKED_TRIES, FAILED_TRIES, TRIES
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.aliases import Alias
from inferno_proxy.routing.plan import RoutePlan, RoutingSettings
from inferno_proxy.services.closing import Closing
from inferno_proxy.services.fleet_inference import FleetInference
from inferno_proxy.services.grpc_server import ControlServices, grpc_server
from inferno_proxy.services.health_service import GrpcHealth, HealthService
from inferno_proxy.services.inference_service import InferenceService
from inferno_proxy.services.mesh_explain import Decisions, Explainer
from inferno_proxy.services.mesh_json import MeshJson
from inferno_proxy.services.mesh_service import Mesh, MeshService
from inferno_proxy.services.profile_service import ProfileService
from inferno_proxy.services.rest import Rest
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_proxy.supervisor.layout import Layout
from inferno_proxy.xds.ads_service import AdsService
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime import rpc
from inferno_runtime.clock import SystemClock
from inferno_runtime.identity.authority_folder import AuthorityFolder
from inferno_runtime.latest import Latest


class Control:
    """The parts a test looks at, and a channel and an HTTP session to the services."""

    def __init__(self, folder: Path, lease: float, *, allow_model_control: bool) -> None:
        self.clock = SystemClock()
        self.events = EventLog(self.clock)
        self.registry = Registry(Terms(lease, 600, Limits(nodes=50)), self.clock, self.events)
        self.clients = ClientTable(self.clock)
        self.closing = Closing()
        self.audit = folder / "audit.jsonl"
        audit = AuditLog(self.audit, self.clock)
        self.gate = Gate(audit, self.clock)
        self.authority = MeshAuthority(AuthorityFolder(folder / "authority"), "inferno", self.clock)
        self.tokens = TokenStore(folder / "tokens.json", self.clock)
        self.identity = IdentityService(
            self.authority, self.tokens, Presence(self.registry, self.clients), audit, self.clock
        )
        self.aliases: Mapping[str, Alias] = {}
        self.fleet = FleetInference(
            self.registry,
            "1.2.3",
            allow_model_control=allow_model_control,
            audit=audit,
            aliases=lambda: self.aliases,
        )
        self.lease = lease
        self.settings = Latest(ProxySettings())
        self.recent = RecentTries()
        self.learner = Learner(lambda _: 0.0)
        self.desk = self._desk(folder)
        self.published: object = 3
        self.planned: Latest[int] = Latest(0)
        self.mesh = Mesh(
            self.registry,
            self.clients,
            self.events,
            self.desk,
            audit,
            self.gate,
            Explainer(self._decisions(), self.desk, self.events, self.clock),
            self.clock,
            self.closing,
            named=lambda: self.settings.value.models,
            aliases=lambda: self.aliases,
        )
        self.counts: list[Counts] = []
        self.tries: list[Try] = []
        self.failures: list[Try] = []
        self.grpc_socket, self.http_socket = folder / "g.sock", folder / "h.sock"
        self.endpoint = ""
        self.channel: grpc.aio.Channel
        self.http: ClientSession

    def serial(self) -> int:
        """The newest snapshot's serial; a test may break it."""
        assert isinstance(self.published, int)
        return self.published

    def _desk(self, folder: Path) -> OrderDesk:
        """A desk over settings that are never tried: there is no Envoy."""

        async def rehearse(_before: ProxySettings, _comparison: Comparison) -> None:
            return

        self.kept = Kept.at(folder / "orders.json")
        reloader = Reloader(
            HandOver(self.settings.value, Address("127.0.0.1", 1)),
            self.events,
            rehearse=rehearse,
            put=self.settings.set,
            keep=lambda _: None,
            env={},
            orders=self.kept.book,
        )
        return OrderDesk(self.kept, reloader, self.clock, self.events)

    def plan(self) -> RoutePlan:
        """What the fleet, the settings and the orders lead to now."""
        return Planner()(self.registry.view.value, self.settings.value.routing, Advice(), self.kept.steering.value)

    def _decisions(self) -> Decisions:
        recipe = Recipe(RoutingSettings(), ResourceSettings("", ""))
        return Decisions(
            self.registry.view,
            self.plan,
            self.planned,
            Latest(recipe),
            Latest(Advice()),
            self.learner.observations,
            self.recent,
        )

    def services(self, group: asyncio.TaskGroup) -> ControlServices:
        view = self.registry.view
        empty: Mapping[Dialect, Snapshot] = MappingProxyType({})
        return ControlServices(
            ads=AdsService(Latest(empty), self.clients, self.clock, self.gate),
            reporting=ReportingService(
                view,
                self.clock,
                self.closing,
                self.gate,
                counts=self.counts.extend,
                tries={TRIES: self.tries.extend, FAILED_TRIES: self.failures.extend, ASKED_TRIES: self.recent.kept},
            ),
            registration=RegistrationService(self.registry, self.clock, group, self.gate, first_word_within=0.5),
            health=HealthService(view, self.closing, lambda: self.aliases),
            grpc_health=GrpcHealth(view, self.closing, lambda: self.aliases),
            mesh=MeshService(self.mesh),
            identity=self.identity,
            inference=InferenceService(self.fleet),
            profile=ProfileService(Recorder(self.audit.parent, self.clock), AuditLog(self.audit, self.clock)),
            governed=True,
        )


@asynccontextmanager
async def control(folder: Path, *, lease: float = 3.0, allow_model_control: bool = False) -> AsyncIterator[Control]:
    """Serve until the test has ended."""
    made = Control(folder, lease, allow_model_control=allow_model_control)
    async with asyncio.TaskGroup() as group:
        services = made.services(group)
        server = grpc_server(services, made.gate)
        rpc.bind(server, f"unix:{made.grpc_socket}")
        made.endpoint = rpc.bind(server, "127.0.0.1:0")
        await server.start()
        own = ControlPlaneCollector(made.registry, made.clients, made.events, made.serial)
        page = MetricsPage([own], made.registry.view, Layout(folder))
        rest = Rest(made.fleet, services.registration, page, made.gate, MeshJson(services.mesh))
        pages = serve_authority(rest.application(), made.authority)
        runner = web.AppRunner(pages, access_log=None, lingering_time=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(made.http_socket)).start()
        passing = group.create_task(made.registry.run())
        async with (
            services.ads,
            rpc.channel(f"unix:{made.grpc_socket}") as made.channel,
            ClientSession("http://inferno", connector=UnixConnector(str(made.http_socket))) as made.http,
        ):
            yield made
        made.registry.close()
        made.closing.begin()
        await runner.cleanup()
        await server.stop(1)
        passing.cancel()
