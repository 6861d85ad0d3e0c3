"""The governator's composition root: builds the stages in flow order and owns their lifetimes.

Order of the end: what looks and decides ends at once, and with it calls of providers; streams are told and settle what
they have handed in; the gRPC server stops; the intake commits the rest of streams that broke off; the store closes.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc as wire_grpc
from inferno_governator.alerts.receiver import Receiver
from inferno_governator.budgets.hard import enforce
from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.caps import Caps
from inferno_governator.cycle import Cycle
from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.decision_service import Deciding
from inferno_governator.decisions.mode import Mode, ModeKeeper
from inferno_governator.decisions.outlook import Outlook
from inferno_governator.enacting.drains import Drains
from inferno_governator.enacting.enactor import Enactor
from inferno_governator.forecast.keeper import ForecastKeeper, boots
from inferno_governator.governance_service import GovernanceService
from inferno_governator.intake import Intake
from inferno_governator.metrics import Metrics
from inferno_governator.metrics_page import serve_metrics
from inferno_governator.policies.deciding import DecidingSettings
from inferno_governator.pools.pool import Pool
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.prices.rules import Rules
from inferno_governator.prices.sources.source import Addresses
from inferno_governator.prometheus.source import PrometheusSource
from inferno_governator.providers.catalogue import providers
from inferno_governator.providers.leash import while_held
from inferno_governator.providers.local import Terms as LocalTerms
from inferno_governator.settings import GovernatorSettings
from inferno_governator.store.address import data_folder, parse_database
from inferno_governator.store.retention import Retention
from inferno_governator.store.store import Store
from inferno_governator.store.turn import Turn
from inferno_governator.watch.objective_keeper import ObjectiveKeeper
from inferno_governator.watch.watcher import Watcher
from inferno_governator.watch.watching import watch
from inferno_runtime import logs, notify, rpc
from inferno_runtime.clock import Clock, SystemClock
from inferno_runtime.errors import InfernoError, InvalidInput
from inferno_runtime.lifecycle import Stop

_LOG = logs.get("governator")
# Seconds for what broken-off streams left behind, after the streams have had shutdown_seconds to settle.
_LAST_SECONDS = 1.0
_DAY_MICROS = 86_400_000_000
SERVICE = wire.DESCRIPTOR.services_by_name["GovernanceService"].full_name


async def serve(settings: GovernatorSettings, stop: Stop, clock: Clock | None = None) -> None:
    """Run the governator until it is asked to stop.

    Raises:
        InfernoError: It cannot start (database, address), or it broke down.
    """
    clock = clock or SystemClock()
    check_listen(settings.listen, insecure=settings.insecure)
    metrics = Metrics()
    kept = Retention(
        raw_micros=settings.raw_retention_minutes * 60_000_000,
        minute_micros=settings.minute_retention_days * _DAY_MICROS,
        hour_micros=settings.hour_retention_days * _DAY_MICROS,
        day_micros=settings.day_retention_days * _DAY_MICROS,
    )
    async with Store(parse_database(settings.db), clock, settings.db_busy_seconds) as store:
        prices = _prices(settings, store, clock)
        await prices.open()
        budgets = BudgetKeeper(store, clock, [each.budget(name) for name, each in settings.budgets.items()])
        caps = Caps()
        intake = Intake(store.commit, settings.queue_samples, clock, metrics)
        promised = [each.objective(model) for model, each in settings.objectives.items()]
        objectives = ObjectiveKeeper(store, promised)
        watcher = Watcher(store, clock, metrics, budgets, objectives, settings.watch_seconds, prices)
        receivers = [Receiver(name, each, store, clock) for name, each in settings.alerts.items()]
        source = PrometheusSource(settings, store, intake, clock, metrics) if settings.metrics else None
        book, drains = DecisionBook(store, clock), Drains(clock)
        modes = ModeKeeper(book, Mode(settings.mode))
        pools = {name: each.pool(name) for name, each in settings.pools.items()}
        forecasts = ForecastKeeper(store, clock, settings.forecast)
        outlook = Outlook(store, clock, pools, prices, budgets, watcher, book, forecasts)
        cycle = _cycle(settings, pools, outlook, book, modes, drains, clock)
        if not pools:
            # Nobody decides, so nothing is to be drained.
            drains.set(())
        deciding = Deciding(book, modes, drains, caps, pools, forecasts)
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(intake.run())
            loops = [
                prices.run(settings.price_check_seconds),
                _forget(store, kept, settings.retention_seconds, clock, metrics),
                watch(watcher, receivers),
                enforce(budgets, caps, clock),
                *([source.run()] if source is not None else []),
                *(
                    [while_held(settings.leash_fd, cycle.run(settings.decide_seconds, Turn(store.address)))]
                    if pools
                    else []
                ),
                *([forecasts.run(boots(pools.values()))] if pools else []),
            ]
            looping = [tasks.create_task(loop) for loop in loops]
            try:
                async with (
                    serve_metrics(settings.metrics_listen, metrics),
                    GovernanceService(store, intake, clock, metrics, budgets, watcher, prices, deciding) as service,
                    _listening(settings, service) as address,
                ):
                    _LOG.info("governator ready", address=address, db=str(store.address))
                    notify.ready(address=address, db=str(store.address))
                    await stop.wait()
                    _LOG.info("governator stopping", reason=stop.reason)
                    notify.stopping()
                    _end(looping)
            finally:
                _end(looping)
                intake.close()
            try:
                async with asyncio.timeout(_LAST_SECONDS):
                    await writing
            except TimeoutError:
                # Nobody was told that it is stored: the nodes send it again.
                _LOG.warning("some telemetry that had arrived was not stored in time")


def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        # Who cancels a second time reaches SQLAlchemy while it closes the connection that the first time broke off, and
        # its thread waits for ever.
        if not task.cancelling():
            task.cancel()


def _prices(settings: GovernatorSettings, store: Store, clock: Clock) -> PriceKeeper:
    rules = Rules(max_age_days=settings.price_max_age_days, jump_percent=settings.price_jump_percent)
    file = Path(settings.prices) if settings.prices else None
    return PriceKeeper(store, clock, rules, file, Addresses(settings.azure_prices, settings.aws_prices))


def _cycle(
    settings: GovernatorSettings,
    pools: Mapping[str, Pool],
    outlook: Outlook,
    book: DecisionBook,
    modes: ModeKeeper,
    drains: Drains,
    clock: Clock,
) -> Cycle:
    folder = Path(settings.local_dir) if settings.local_dir else data_folder() / "nodes"
    known = providers(list(pools.values()), LocalTerms(folder, settings.leash_fd), clock)
    enactor = Enactor(book, pools, known, drains, clock, settings.settle_seconds)
    deciding = DecidingSettings(policies=settings.policies, guards=settings.guards)
    return Cycle(book, enactor, modes, pools, deciding, partial(outlook.look, settings.minimum), outlook.measure, clock)


def check_listen(listen: str, *, insecure: bool) -> None:
    """Refuse to open an unprotected port to other machines.

    Raises:
        InvalidInput: It is no address, or one not of this machine alone and ``insecure`` is not given.
    """
    if listen.startswith("unix:") or insecure:
        return
    host, colon, _ = listen.rpartition(":")
    host = host.strip("[]")
    if not colon:
        raise InvalidInput(
            f"--listen {listen!r} is neither HOST:PORT nor unix:/PATH.",
            reason="BAD_ADDRESS",
            fix="Write it like 127.0.0.1:8090.",
        )
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise InvalidInput(
            f"{listen} can be reached by other machines, and nothing there would ask who calls.",
            reason="INSECURE_LISTEN",
            fix="Listen on 127.0.0.1 and let the proxy carry calls here, or give --insecure.",
        )


@asynccontextmanager
async def _listening(settings: GovernatorSettings, service: GovernanceService) -> AsyncIterator[str]:
    """A gRPC server for the service, health and reflection; yields the bound address."""
    server: grpc.aio.Server = rpc.server()
    health = health_aio.HealthServicer()
    wire_grpc.add_GovernanceServiceServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    await health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    address = rpc.bind(server, settings.listen)
    await server.start()
    try:
        yield address
    finally:
        service.stop()
        await health.enter_graceful_shutdown()
        # A stream that is stopped from outside loses its last acknowledgements: let each end by itself first.
        try:
            async with asyncio.timeout(settings.shutdown_seconds):
                await service.idle()
        except TimeoutError:
            _LOG.warning("streams did not end in time")
        await server.stop(grace=0.5)


async def _forget(store: Store, kept: Retention, every: float, clock: Clock, metrics: Metrics) -> None:
    """Settle what has ended and delete what is old, for ever; a database that cannot now is asked again next time.

    Where more has to be settled than at once (after an upgrade, or a long stop), it goes on at the next look, so that
    most of the time between two looks is left to those who store.
    """
    while True:
        try:
            await store.settle()
            metrics.forgotten_rows.inc(await store.forget(kept))
        except InfernoError as error:
            if not error.temporary:
                raise
            _LOG.warning("books are not settled, or old telemetry is not deleted, now", error=str(error))
        await clock.sleep(every)
