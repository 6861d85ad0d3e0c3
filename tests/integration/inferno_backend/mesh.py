"""The far side of the agent's wire: a proxy and a governator as small real gRPC servers that a test can steer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from inferno.governance.v1 import capacity_pb2, governance_service_pb2_grpc, notice_pb2, telemetry_pb2
from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.registration.v1 import node_pb2, registration_service_pb2_grpc
from inferno.registration.v1 import registration_service_pb2 as registration
from inferno_runtime import rpc
from inferno_runtime.errors import InfernoError, InvalidInput, Unsupported
from inferno_runtime.latest import Latest
from tests.governance import StandIn
from tests.waiting import eventually


class Registry(registration_service_pb2_grpc.RegistrationServiceServicer):
    """Takes every node, unless told otherwise, and says at once that all data planes have applied what it said."""

    def __init__(self) -> None:
        self.nodes: list[tuple[float, int, node_pb2.Node]] = []
        self.loads: list[node_pb2.Load] = []
        self.requests = 0
        self.goodbye_refusal: InfernoError | None = None
        self.goodbyes: list[registration.DeregisterRequest] = []
        self.requests_after_goodbye = 0
        # What the callers of Register showed, PEM.
        self.certificates: list[bytes] = []
        self.refusal: Callable[[], InfernoError] | None = None
        self.refused = 0
        self.silent = False
        self.applies = True
        self.lease_ms = 3000
        self.wanted = Latest(registration.RegisterResponse())
        self.end_streams = Latest(0)

    @property
    def node(self) -> node_pb2.Node:
        """The node as it was said last."""
        return self.nodes[-1][2]

    async def Register(
        self, requests: AsyncIterator[registration.RegisterRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[registration.RegisterResponse]:
        self.certificates += context.auth_context().get("x509_pem_cert", ())
        if self.refusal is not None:
            self.refused += 1
            raise self.refusal()
        applied = Latest(-1)
        reading = asyncio.create_task(self._read(requests, applied))
        answers: asyncio.Queue[registration.RegisterResponse | None] = asyncio.Queue()

        async def answer() -> None:
            await applied.wait_for(lambda revision: revision >= 0)
            async for _ in _changes(applied, self.wanted):
                response = registration.RegisterResponse()
                response.CopyFrom(self.wanted.value)
                response.lease_duration.FromMilliseconds(self.lease_ms)
                response.applied_revision = applied.value if self.applies else 0
                if not self.silent:
                    answers.put_nowait(response)

        async def end() -> None:
            before = self.end_streams.value
            await self.end_streams.wait_for(lambda now: now != before)
            answers.put_nowait(None)

        tasks = [reading, asyncio.create_task(answer()), asyncio.create_task(end())]
        try:
            while (response := await answers.get()) is not None:
                yield response
        finally:
            for task in tasks:
                task.cancel()

    async def _read(self, requests: AsyncIterator[registration.RegisterRequest], applied: Latest[int]) -> None:
        loop = asyncio.get_running_loop()
        async for request in requests:
            self.requests += 1
            self.requests_after_goodbye += bool(self.goodbyes)
            if request.HasField("load"):
                self.loads.append(request.load)
            if request.HasField("node"):
                self.nodes.append((loop.time(), request.revision, request.node))
                applied.set(request.revision)

    async def Deregister(
        self, request: registration.DeregisterRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> registration.DeregisterResponse:
        if self.goodbye_refusal is not None:
            raise self.goodbye_refusal
        self.goodbyes.append(request)
        return registration.DeregisterResponse()

    async def Announce(
        self, request: registration.AnnounceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> registration.AnnounceResponse:
        raise Unsupported("Agents do not announce themselves.", reason="NOT_HERE")

    async def until(self, check: Callable[[node_pb2.Node], object], within: float, what: str) -> node_pb2.Node:
        """Wait until the node as said last satisfies ``check``."""
        await eventually(lambda: bool(self.nodes) and bool(check(self.node)), within, what)
        return self.node


async def _changes(*slots: Latest[Any]) -> AsyncIterator[None]:
    """Yield now and after each change of any slot."""
    changed = asyncio.Event()

    async def watch(slot: Latest[Any]) -> None:
        async for _ in slot.watch():
            changed.set()

    tasks = [asyncio.create_task(watch(slot)) for slot in slots]
    try:
        while True:
            await changed.wait()
            changed.clear()
            yield
    finally:
        for task in tasks:
            task.cancel()


class Store(StandIn):
    """Keeps every batch once, and acknowledges what it keeps."""

    def __init__(self) -> None:
        self.batches: dict[tuple[int, int], telemetry_pb2.TelemetryBatch] = {}
        self.first_of_stream: list[telemetry_pb2.TelemetryBatch] = []
        self.acknowledges = True
        self.incarnation_shift = 0
        self.refusal: InfernoError | None = None
        self.refused = 0
        self.impossible: set[int] = set()
        self.leaves_out = 0
        self.capacities: list[capacity_pb2.CapacityReport] = []
        self.devices: list[capacity_pb2.DeviceFigure] = []
        self.capacity_refusals: list[InfernoError] = []
        self.notices: list[notice_pb2.ProviderNotice] = []
        self.notice_refusals: list[InfernoError] = []

    def samples(self) -> list[telemetry_pb2.Sample]:
        """Every sample, in order."""
        return [sample for _, batch in sorted(self.batches.items()) for sample in batch.samples]

    def requests(self, model: str) -> int:
        """Requests of a model that were reported."""
        return sum(sample.model.requests for sample in self.samples() if sample.model.model == model)

    async def ReportNotice(
        self, request: governance.ReportNoticeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> governance.ReportNoticeResponse:
        if self.notice_refusals:
            raise self.notice_refusals.pop(0)
        self.notices.append(request.notice)
        return governance.ReportNoticeResponse()

    async def ReportCapacity(
        self, request: governance.ReportCapacityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> governance.ReportCapacityResponse:
        if self.capacity_refusals:
            raise self.capacity_refusals.pop(0)
        self.capacities += request.reports
        self.devices += request.devices
        return governance.ReportCapacityResponse()

    async def StreamTelemetry(
        self, requests: AsyncIterator[governance.StreamTelemetryRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[governance.StreamTelemetryResponse]:
        first = True
        async for request in requests:
            batch = request.batch
            if self.refusal is not None:
                self.refused += 1
                raise self.refusal
            if batch.sequence in self.impossible:
                raise InvalidInput(
                    f"Batch {batch.sequence} is refused.",
                    reason="BAD_TELEMETRY",
                    metadata={"sequence": str(batch.sequence)},
                )
            if first:
                self.first_of_stream.append(batch)
                first = False
            if not self.acknowledges:
                continue
            self.batches[batch.incarnation, batch.sequence] = batch
            yield governance.StreamTelemetryResponse(
                node_id=batch.node_id,
                incarnation=batch.incarnation + self.incarnation_shift,
                acknowledged_sequence=batch.sequence,
                refused_samples=self.leaves_out,
                refusal="samples[0].time: wrong" if self.leaves_out else "",
            )


class Mesh:
    """One public port with both."""

    def __init__(self, address: str, registry: Registry, store: Store) -> None:
        self.address = address
        self.registry = registry
        self.store = store


@asynccontextmanager
async def mesh(
    address: str = "127.0.0.1:0",
    *,
    registry: Registry | None = None,
    store: Store | None = None,
    tls: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Mesh]:
    """Serve a proxy, with a governator behind it unless ``store`` says otherwise, on one port."""
    registry, store = registry or Registry(), store or Store()
    server = rpc.server()
    registration_service_pb2_grpc.add_RegistrationServiceServicer_to_server(registry, server)
    governance_service_pb2_grpc.add_GovernanceServiceServicer_to_server(store, server)
    bound = f"127.0.0.1:{server.add_secure_port(address, tls)}" if tls else rpc.bind(server, address)
    await server.start()
    try:
        yield Mesh(bound, registry, store)
    finally:
        registry.end_streams.set(registry.end_streams.value + 1)
        await server.stop(0.2)
