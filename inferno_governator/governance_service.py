"""GovernanceService on the wire: telemetry in, the bill out. It translates and holds no judgement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc as wire_grpc
from inferno_governator import capacity_wire, notices
from inferno_governator.analysis.lines import Line
from inferno_governator.analysis.periods import period
from inferno_governator.billing import Report, report
from inferno_governator.budgets.budget_service import BudgetService
from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.cap_service import CapService
from inferno_governator.cost_service import CostService
from inferno_governator.decisions.decision_service import Deciding, DecisionService
from inferno_governator.device_service import DeviceService
from inferno_governator.forecast.forecast_service import ForecastService
from inferno_governator.intake import Intake
from inferno_governator.metrics import Metrics
from inferno_governator.plan.plan_service import PlanService
from inferno_governator.plan.planner import Planner
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.prices.price_service import PriceCalls
from inferno_governator.simulation.simulate_service import SimulateService
from inferno_governator.store.store import Store
from inferno_governator.telemetry_decoder import decode
from inferno_governator.telemetry_stream import TelemetryStream
from inferno_governator.watch.watch_service import WatchService
from inferno_governator.watch.watcher import Watcher
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import Denied, InfernoError, Unavailable
from inferno_runtime.identity.caller import Caller, caller_of
from inferno_runtime.identity.permission import Action, permit

_LOG = logs.get("governator")

Context = grpc.aio.ServicerContext[Any, Any]


class GovernanceService(
    BudgetService,
    CapService,
    CostService,
    DecisionService,
    DeviceService,
    ForecastService,
    PlanService,
    SimulateService,
    WatchService,
    PriceCalls,
    wire_grpc.GovernanceServiceServicer,
):
    """Servicer; an async context manager whose end is :meth:`stop` for every stream."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        clock: Clock,
        metrics: Metrics,
        budgets: BudgetKeeper,
        watcher: Watcher,
        prices: PriceKeeper,
        deciding: Deciding,
    ) -> None:
        PriceCalls.__init__(self, prices)
        self._budgets = budgets
        self._watcher = watcher
        self._store = store
        self._caps = deciding.caps
        self._deciding = deciding
        self._planner = Planner(store, prices, clock, watcher.objectives)
        self._intake = intake
        self._clock = clock
        self._metrics = metrics
        self._readers = asyncio.TaskGroup()
        self._streams: set[TelemetryStream] = set()
        self._stopping: InfernoError | None = None
        self._none_open = asyncio.Event()
        self._none_open.set()

    async def __aenter__(self) -> Self:
        await self._readers.__aenter__()
        self._following = self._readers.create_task(self._follow_replacements())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._following.cancel()
        await self._readers.__aexit__(kind, error, trace)

    def stop(self) -> None:
        """End every stream once what it has handed in is settled, and refuse new ones. Safe to call again."""
        self._stopping = _reconnect("The governator is stopping.", "STOPPING")
        self._end_streams(self._stopping)
        self._caps.close()
        self._deciding.book.close()

    async def _follow_replacements(self) -> None:
        """End every stream whenever the store has begun a new database: a stream says its node's facts only once."""
        async for count in self._store.replacements.watch():
            if count:
                self._end_streams(_reconnect("The database was damaged and a new one is begun.", "DATABASE_REPLACED"))

    def _end_streams(self, error: InfernoError) -> None:
        for stream in self._streams:
            stream.fail(error)

    async def idle(self) -> None:
        """Return when no telemetry stream is open."""
        await self._none_open.wait()

    async def StreamTelemetry(
        self, request_iterator: AsyncIterator[wire.StreamTelemetryRequest], context: Context
    ) -> AsyncIterator[wire.StreamTelemetryResponse]:
        """Store batches and acknowledge what is committed."""
        if self._stopping is not None:
            raise self._stopping
        caller = caller_of(context)
        permit(caller, Action.MEASURE, caller.name)
        stream = TelemetryStream()
        reader = self._readers.create_task(self._read(request_iterator, stream, caller))
        self._streams.add(stream)
        self._opened()
        try:
            while (news := await stream.acknowledgements()) is not None:
                for key, committed in news.items():
                    yield wire.StreamTelemetryResponse(
                        node_id=key.node_id,
                        incarnation=key.incarnation,
                        acknowledged_sequence=committed.sequence,
                        refused_samples=committed.refused_samples,
                        refusal=committed.refusal,
                    )
        finally:
            # No await here: when the call is cancelled, so is every await in its clean-up.
            reader.cancel()
            self._streams.discard(stream)
            self._opened()

    async def GetCostReport(self, request: wire.GetCostReportRequest, context: Context) -> wire.GetCostReportResponse:
        """The bill of a period."""
        permit(caller_of(context), Action.READ)
        start = request.start.seconds if request.HasField("start") else None
        end = _ceil_seconds(request.end) if request.HasField("end") else None
        return _encode(await report(self._store, period(start, end, self._clock.wall())))

    async def ReportNotice(self, request: wire.ReportNoticeRequest, context: Context) -> wire.ReportNoticeResponse:
        """Store what a provider announced to a node's machine."""
        permit(caller_of(context), Action.MEASURE, request.notice.node_id)
        notice = notices.decode(request.notice)
        if await self._store.note(notice):
            self._metrics.notices.labels(notice.kind.name.lower()).inc()
            _LOG.warning(
                "a provider's notice",
                node=notice.node_id,
                kind=notice.kind.name,
                action=notice.action,
                instance=notice.instance_id,
            )
        return wire.ReportNoticeResponse()

    async def ListNotices(self, request: wire.ListNoticesRequest, context: Context) -> wire.ListNoticesResponse:
        """What providers have announced."""
        permit(caller_of(context), Action.READ)
        since = request.start.ToMicroseconds() if request.HasField("start") else self._an_hour_ago()
        return wire.ListNoticesResponse(notices=map(notices.encode, await self._store.notices(since)))

    async def ReportCapacity(
        self, request: wire.ReportCapacityRequest, context: Context
    ) -> wire.ReportCapacityResponse:
        """Store what benchmarks have shown."""
        caller = caller_of(context)
        permit(caller, Action.MEASURE, caller.name)
        for node in {*(one.node_id for one in request.reports), *(one.node_id for one in request.devices)}:
            permit(caller, Action.MEASURE, node)
        now = int(self._clock.wall() * 1_000_000)
        models = capacity_wire.decode_all(request.reports, now)
        await self._store.keep_capacities(models, capacity_wire.decode_devices(request.devices, now))
        return wire.ReportCapacityResponse()

    async def GetCapacity(self, request: wire.GetCapacityRequest, context: Context) -> wire.GetCapacityResponse:
        """What models can do on nodes."""
        permit(caller_of(context), Action.READ)
        found = await self._store.capacities(request.node_id, request.model)
        devices = [] if request.model else await self._store.device_figures(request.node_id)
        return wire.GetCapacityResponse(
            reports=map(capacity_wire.encode, found), devices=map(capacity_wire.encode_device, devices)
        )

    def _an_hour_ago(self) -> int:
        return int((self._clock.wall() - 3600) * 1_000_000)

    async def _read(
        self, requests: AsyncIterator[wire.StreamTelemetryRequest], stream: TelemetryStream, caller: Caller
    ) -> None:
        try:
            async for request in requests:
                await stream.room()
                permit(caller, Action.MEASURE, request.batch.node_id)
                batch = decode(request.batch, int(self._clock.wall() * 1_000_000))
                self._intake.submit(batch, stream)
                stream.submitted()
        except InfernoError as error:
            if isinstance(error, Denied):
                _LOG.warning("telemetry refused", caller=str(caller), error=error.message)
            stream.fail(error)
        else:
            stream.end()

    def _opened(self) -> None:
        self._metrics.streams.set(len(self._streams))
        if self._streams:
            self._none_open.clear()
        else:
            self._none_open.set()


def _reconnect(message: str, reason: str) -> Unavailable:
    fix = "Keep the batches that were not acknowledged and reconnect."
    return Unavailable(message, reason=reason, fix=fix, retry_after=1.0)


def _ceil_seconds(time: Timestamp) -> int:
    return time.seconds + (1 if time.nanos else 0)


def _encode(bill: Report) -> wire.GetCostReportResponse:
    return wire.GetCostReportResponse(
        start=Timestamp(seconds=bill.period.start_minute * 60),
        end=Timestamp(seconds=bill.period.end_minute * 60),
        lines=[_encode_line(line) for line in bill.lines],
        total_cost_micros=bill.total_cost_micros,
        dropped_samples=bill.dropped_samples,
    )


def _encode_line(line: Line) -> wire.CostLine:
    return wire.CostLine(
        node_id=line.node,
        model=line.model,
        requests=line.requests,
        errors=line.errors,
        inferences=line.inferences,
        mean_latency_micros=line.mean_latency_micros,
        mean_queue_micros=line.mean_queue_micros,
        utilization=line.utilization,
        cost_micros=line.cost_micros,
        measured_seconds=line.measured_micros / 1_000_000,
        energy_joules=line.energy_millijoules / 1000,
    )
