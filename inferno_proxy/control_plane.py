"""The control plane's process: builds the stages in flow order and owns their lifetimes.

``python -m inferno_proxy.control_plane FILE FD``, started by :mod:`inferno_proxy.app`, which writes the file and says
over the inherited socket what it heals.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from inferno_proxy.audit import AuditLog
from inferno_proxy.discovery.names import resolve_address
from inferno_proxy.discovery.registration_service import RegistrationService
from inferno_proxy.discovery.sources import Discovery
from inferno_proxy.envoy.bootstrap import standby_path
from inferno_proxy.envoy.standby import keep_standby
from inferno_proxy.events import EventLog
from inferno_proxy.explain.recent import RecentTries
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.feedback.loop import Learning
from inferno_proxy.feedback.quarantine import Quarantine
from inferno_proxy.fleet import Address
from inferno_proxy.identity.authority_page import serve_authority
from inferno_proxy.identity.certificates import Certificates
from inferno_proxy.identity.gate import Gate
from inferno_proxy.identity.identity_service import IdentityService
from inferno_proxy.identity.membership import Membership
from inferno_proxy.identity.presence import Presence
from inferno_proxy.metrics.control_plane import ControlPlaneCollector
from inferno_proxy.metrics.page import MetricsPage
from inferno_proxy.orders.caps import Capping
from inferno_proxy.orders.desk import Kept, OrderDesk
from inferno_proxy.orders.drains import Draining
from inferno_proxy.profiling.recorder import Recorder
from inferno_proxy.publishing.publisher import Publisher, Sources
from inferno_proxy.publishing.revisions import behind, caught_up
from inferno_proxy.publishing.snapshot import Dialect, last_good_path, read_last_good
from inferno_proxy.recipe import recipe_of
from inferno_proxy.registry.acknowledgement import carry_back
from inferno_proxy.registry.admission import Limits
from inferno_proxy.registry.lease import Terms
from inferno_proxy.registry.memory import Memory
from inferno_proxy.registry.registry import Registry
from inferno_proxy.reloading.alarms import Alarms
from inferno_proxy.reloading.safeguards import Watched, safeguards
from inferno_proxy.reports.figures import ReportedFigures
from inferno_proxy.reports.reporting_service import ReportingService
from inferno_proxy.resources import Builder
from inferno_proxy.resources.names import ASKED_TRIES, FAILED_TRIES, TRIES
from inferno_proxy.routing.advised import Planner
from inferno_proxy.routing.aliases import Alias, report_taken
from inferno_proxy.routing.mixed import report_mixed
from inferno_proxy.routing.offered import follow
from inferno_proxy.routing.unserved import Rules, report_unserved
from inferno_proxy.services.closing import Closing
from inferno_proxy.services.fleet_inference import FleetInference
from inferno_proxy.services.grpc_server import ControlServices
from inferno_proxy.services.health_service import GrpcHealth, HealthService
from inferno_proxy.services.inference_service import InferenceService
from inferno_proxy.services.mesh_explain import Decisions, Explainer
from inferno_proxy.services.mesh_json import MeshJson
from inferno_proxy.services.mesh_service import Mesh, MeshService
from inferno_proxy.services.profile_service import ProfileService
from inferno_proxy.services.rest import Rest
from inferno_proxy.services.sockets import listen_grpc, listen_http
from inferno_proxy.settings import ProxySettings
from inferno_proxy.supervisor.handover import HandOver
from inferno_proxy.supervisor.healing import carry
from inferno_proxy.supervisor.layout import Layout
from inferno_proxy.supervisor.watchdog import SIGN_EVERY
from inferno_proxy.usage.usage import Usage, sender
from inferno_proxy.xds.ads_service import AdsService
from inferno_proxy.xds.clients import ClientTable
from inferno_runtime import hangup, lifecycle, logs, notify
from inferno_runtime.addresses import parse_address
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import InfernoError
from inferno_runtime.garbage import keep_collections_short
from inferno_runtime.latest import Latest

_LOG = logs.get("control-plane")

T = TypeVar("T")


async def serve(
    handed: HandOver, layout: Layout, stop: lifecycle.Stop, supervisor: socket.socket | None = None
) -> None:
    """Run the control plane until asked to stop.

    ``supervisor`` is the socket over which the supervisor says what it heals; it is closed at the end.
    """
    clock, hangups = SystemClock(), hangup.count(stop)
    settings, listen = handed.settings, handed.listen
    events = EventLog(clock)
    governator = await _governator(settings.governator)
    member = Membership.read(layout.identity)
    registry = Registry(_terms(settings, listen, governator, member), clock, events)
    memory, discovery = Memory(layout.fleet), Discovery(settings, registry, clock, events, member)
    await _remember(memory, registry, discovery)
    recipes = Latest(recipe_of(settings, listen, layout, governator, member))
    alarms = Alarms(events, clock)
    clients = ClientTable(clock, report=alarms.report)
    # What health is told of is the fleet less what operators hold back.
    advice, recent, open_to_calls = Latest(Advice()), RecentTries(), Latest(registry.view.value)
    kept = await asyncio.to_thread(Kept.at, layout.orders)
    publisher = Publisher(
        Sources(registry.view, recipes, advice, kept.steering),
        clock,
        plan=Planner(),
        build=Builder(),
        announce=clients.published,
        directory=layout.directory,
    )

    def aliases() -> Mapping[str, Alias]:
        return recipes.value.routing.aliases

    certificates = Certificates(settings, layout, clock)
    closing, audit = Closing(), AuditLog(layout.audit, clock)
    gate = Gate(audit, clock)
    fleet = FleetInference(
        registry,
        version("inferno-mesh"),
        allow_model_control=settings.allow_model_control,
        audit=audit,
        aliases=aliases,
        proxy=member,
        offered=open_to_calls,
    )
    figures = ReportedFigures(registry.view, clock)
    learning = Learning(registry, recipes, advice, events, clock)
    quarantine = Quarantine(registry.view, advice, events, clock)
    reloader, warden = safeguards(
        handed,
        layout,
        Watched(registry, publisher, recipes, clients, events, alarms),
        clock,
        lambda chosen: recipe_of(chosen, listen, layout, governator, member),
        kept.book,
    )
    desk, target = OrderDesk(kept, reloader, clock, events), _target(governator)
    decisions = Decisions(
        registry.view,
        lambda: publisher.planned,
        publisher.snapshots,
        recipes,
        advice,
        learning.learner.observations,
        recent,
    )
    mesh = Mesh(
        registry,
        clients,
        events,
        desk,
        audit,
        gate,
        Explainer(decisions, desk, events, clock),
        clock,
        closing,
        named=lambda: recipes.value.routing.traffic.models,
        aliases=aliases,
    )
    async with asyncio.TaskGroup() as group, AdsService(publisher.snapshots, clients, clock, gate) as ads:
        registration = RegistrationService(registry, clock, group, gate)
        services = ControlServices(
            ads=ads,
            reporting=ReportingService(
                registry.view,
                clock,
                closing,
                gate,
                counts=_each(figures.counts, learning.counts),
                tries={
                    TRIES: _each(figures.tries, learning.learner.tries, quarantine.tries, recent.sampled),
                    FAILED_TRIES: _each(figures.failures, quarantine.tries, recent.kept),
                    ASKED_TRIES: recent.kept,
                },
            ),
            registration=registration,
            health=HealthService(open_to_calls, closing, aliases),
            grpc_health=GrpcHealth(open_to_calls, closing, aliases),
            mesh=MeshService(mesh),
            identity=IdentityService.kept(layout, settings, Presence(registry, clients), audit, clock),
            inference=InferenceService(fleet),
            profile=ProfileService(Recorder(layout.directory, clock), audit),
            governed=governator is not None,
        )
        metrics = MetricsPage(
            (
                ControlPlaneCollector(
                    registry,
                    clients,
                    events,
                    lambda: _serial(publisher),
                    stages=publisher.took,
                    certificates=certificates.ends,
                ),
                figures,
            ),
            registry.view,
            layout,
        )
        rest = Rest(fleet, registration, metrics, gate, MeshJson(services.mesh))
        pages = serve_authority(rest.application(), services.identity.authority)
        tasks = [
            group.create_task(_show_life(clock), name="signs-of-life"),
            group.create_task(keep_collections_short(clock), name="garbage"),
            *([group.create_task(carry(supervisor, events), name="healing")] if supervisor else []),
            *([group.create_task(Capping(target, desk, audit, clock).run(), name="caps")] if target else []),
            *(
                [group.create_task(_drains(target, listen, registry, figures, audit, clock).run(), name="drains")]
                if target
                else []
            ),
            *([group.create_task(report_mixed(registry.view, events, clock), name="mixed")] if member else []),
            group.create_task(registry.run(), name="registry"),
            group.create_task(follow(registry.view, kept.steering, open_to_calls), name="offered"),
            group.create_task(certificates.run(events), name="certificates"),
            group.create_task(desk.run(), name="orders"),
            group.create_task(discovery.run(), name="discovery"),
            group.create_task(memory.keep(registry, clock), name="memory"),
            group.create_task(carry_back(publisher.snapshots, clients.applied, registry), name="acknowledgement"),
            group.create_task(report_taken(aliases, registry.view, events), name="aliases"),
            group.create_task(metrics.run(), name="metrics"),
            group.create_task(
                keep_standby(publisher.snapshots, standby_path(layout.directory, listen), clock), name="standby"
            ),
        ]
        if settings.healing:
            tasks += [
                group.create_task(learning.run(), name="learning"),
                group.create_task(quarantine.run(), name="quarantine"),
            ]
        async with AsyncExitStack() as doors:
            await doors.enter_async_context(listen_grpc(services, gate, layout.control_grpc))
            await doors.enter_async_context(listen_http(pages, layout.control_http))
            await doors.enter_async_context(Usage(layout, registry.view, recipes, target, listen, clock))
            await _wait_for_agents(layout.directory, registry, settings.lease_duration, stop)
            desk.forget(await reloader.begin(HandOver.proven(layout.proven)))
            tasks += [
                group.create_task(publisher.run(), name="publisher"),
                group.create_task(reloader.run(hangups), name="reload"),
                group.create_task(reloader.follow(clock), name="settings-file"),
                group.create_task(
                    report_unserved(Rules(recipes, reloader.where), registry.view, events, clock), name="unserved"
                ),
            ]
            if settings.healing:
                tasks.append(group.create_task(warden.run(), name="warden"))
            notify.ready(grpc=str(layout.control_grpc), http=str(layout.control_http))
            await stop.wait()
            await _end_streams(registry, closing, ads)
        for task in tasks:
            task.cancel()
    # A cancelled task leaves the file it was writing to its thread: this returns once the folder is at rest.
    await asyncio.get_running_loop().shutdown_default_executor()


def _drains(
    target: str, listen: Address, registry: Registry, figures: ReportedFigures, audit: AuditLog, clock: Clock
) -> Draining:
    return Draining(target, sender(listen), registry, figures.under_way, audit, clock)


async def _end_streams(registry: Registry, closing: Closing, ads: AdsService) -> None:
    """Streams return with a reason of ours before the server cancels what is left."""
    notify.stopping()
    registry.close()
    closing.begin()
    await ads.close()


def _each(*takers: Callable[[Sequence[T]], None]) -> Callable[[Sequence[T]], None]:
    def take(seen: Sequence[T]) -> None:
        for taker in takers:
            taker(seen)

    return take


def _terms(
    settings: ProxySettings, listen: Address, governator: Address | str | None, member: Membership | None
) -> Terms:
    reserved = {Address(host, listen.port): "the mesh's own public port" for host in {listen.host, "127.0.0.1", "::1"}}
    if settings.mesh is not None:
        hosts = {settings.mesh.host, "127.0.0.1", "::1"}
        reserved |= {Address(host, settings.mesh.port): "the port for members of the mesh" for host in hosts}
    if isinstance(governator, Address):
        reserved[governator] = "the governator's own port"
    limits = Limits(nodes=settings.max_nodes, reserved=reserved, secured=member is not None)
    return Terms(lease=settings.lease_duration, forget_after=settings.forget_after, limits=limits)


async def _governator(where: str) -> Address | str | None:
    """Where governance calls go; None, with a line in the log, when its name does not resolve."""
    if not where:
        return None
    if where.startswith("unix:"):
        return where.removeprefix("unix:")
    host, port = parse_address(where, "governator")
    try:
        return await resolve_address("governator", Address(host, port))
    except InfernoError as error:
        _LOG.error("no route to the governator", reason=error.sentence())
        return None


def _target(governator: Address | str | None) -> str:
    """What gRPC dials; empty when there is no governator."""
    return f"unix:{governator}" if isinstance(governator, str) else str(governator or "")


async def _remember(memory: Memory, registry: Registry, discovery: Discovery) -> None:
    """Put back the nodes of the control plane's earlier life, but for those of sources no longer asked."""
    for each in await asyncio.to_thread(memory.read):
        if discovery.remembers(each.record):
            registry.restore(each.record, each.duration)


async def _wait_for_agents(directory: Path, registry: Registry, seconds: float, stop: lifecycle.Stop) -> None:
    """Give nodes time to tell of themselves before a first configuration, if a data plane may run a newer one than what
    is remembered: an empty or older fleet now would take models away from it."""
    before = await asyncio.to_thread(read_last_good, last_good_path(directory, Dialect.ENVOY))
    if before is None or not (lacking := behind(registry.view.value, before.revisions)):
        return
    _LOG.warning(
        "the last fleet is not known; waiting for agents to return", seconds=seconds, nodes=sorted(lacking)[:10]
    )
    returned = asyncio.create_task(_all_return(registry, lacking))
    stopping = asyncio.create_task(stop.wait())
    _, pending = await asyncio.wait((returned, stopping), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in pending:
        each.cancel()


async def _all_return(registry: Registry, lacking: Mapping[str, tuple[int, int]]) -> None:
    async for view in registry.view.watch():
        if caught_up(view, lacking):
            return


async def _show_life(clock: Clock) -> None:
    """Tell the supervisor, again and again, that the event loop turns; a silent control plane is ended."""
    while True:
        notify.alive()
        await clock.sleep(SIGN_EVERY)


def _serial(publisher: Publisher) -> int:
    return max((snapshot.serial for snapshot in publisher.snapshots.value.values()), default=0)


def main() -> int:
    """Read what the supervisor wrote, and serve."""
    handed, layout = HandOver.read(Path(sys.argv[1])), Layout(Path(sys.argv[1]).parent)
    logs.configure(handed.settings.log_format, handed.settings.log_level)
    # Sockets and files are for this user alone.
    os.umask(0o077)

    async def run(stop: lifecycle.Stop) -> None:
        await serve(handed, layout, stop, socket.socket(fileno=int(sys.argv[2])))

    return lifecycle.run(run)


if __name__ == "__main__":
    sys.exit(main())
