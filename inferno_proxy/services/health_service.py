"""Health over the wire: ``inferno.health.v1`` with reasons, and ``grpc.health.v1`` with the bare status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inferno.health.v1 import health_service_pb2 as wire
from inferno.health.v1 import health_service_pb2_grpc as stubs
from inferno_proxy.errors import unknown_model
from inferno_proxy.fleet import FleetView
from inferno_proxy.routing.aliases import Alias, Aliases, no_aliases, stands_for
from inferno_proxy.services.closing import Closing
from inferno_proxy.services.health import ModelSummary, Status, Summary, node_status, summarize
from inferno_runtime.latest import Latest

Context = grpc.aio.ServicerContext[Any, Any]

_TO_WIRE = {
    Status.SERVING: wire.SERVING_STATUS_SERVING,
    Status.DEGRADED: wire.SERVING_STATUS_DEGRADED,
    Status.NOT_SERVING: wire.SERVING_STATUS_NOT_SERVING,
}
# Load balancers ask by the full name of the service they balance: that is the mesh.
_MESH = ("", "inference.GRPCInferenceService")


class HealthService(stubs.HealthServiceServicer):
    """Reports what can serve, and why the rest cannot."""

    def __init__(self, view: Latest[FleetView], closing: Closing, aliases: Aliases = no_aliases) -> None:
        self._view = view
        self._closing = closing
        self._aliases = aliases

    async def GetHealth(self, request: wire.GetHealthRequest, context: Context) -> wire.GetHealthResponse:
        """The mesh, or one model, now."""
        return wire.GetHealthResponse(report=_report(self._view.value, request.model, self._aliases()))

    async def WatchHealth(
        self, request: wire.WatchHealthRequest, context: Context
    ) -> AsyncIterator[wire.WatchHealthResponse]:
        """The report now and after each change."""
        last: wire.HealthReport | None = None
        async for view in self._closing.during(self._view.watch()):
            report = _report(view, request.model, self._aliases())
            if report != last:
                last = report
                yield wire.WatchHealthResponse(report=report)


class GrpcHealth(health_pb2_grpc.HealthServicer):
    """The standard health protocol: "" is the mesh, a model's name is that model."""

    def __init__(self, view: Latest[FleetView], closing: Closing, aliases: Aliases = no_aliases) -> None:
        self._view = view
        self._closing = closing
        self._aliases = aliases

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """The status now; an unknown name fails with NOT_FOUND, as the protocol says."""
        summary = summarize(self._view.value)
        status = _standard(summary, request.service, self._aliases())
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            raise unknown_model(request.service, summary.models)
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now and after each change; an unknown name is SERVICE_UNKNOWN until it appears."""
        last: int | None = None
        async for view in self._closing.during(self._view.watch()):
            status = _standard(summarize(view), request.service, self._aliases())
            if status != last:
                last = status
                yield health_pb2.HealthCheckResponse(status=status)


def _standard(summary: Summary, service: str, aliases: Mapping[str, Alias]) -> int:
    model = stands_for(service, aliases, summary.models).model
    if service in _MESH:
        status = summary.status
    elif model in summary.models:
        status = summary.models[model].status
    else:
        return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    if status is Status.NOT_SERVING:
        return health_pb2.HealthCheckResponse.NOT_SERVING
    return health_pb2.HealthCheckResponse.SERVING


def _report(view: FleetView, model: str, aliases: Mapping[str, Alias]) -> wire.HealthReport:
    summary = summarize(view)
    model = stands_for(model, aliases, summary.models).model
    if model and model not in summary.models:
        raise unknown_model(model, summary.models)
    chosen = [summary.models[model]] if model else list(summary.models.values())
    nodes = {name for one in chosen for name in (*one.serving, *one.others)} if model else set(view.members)
    report = wire.HealthReport(
        status=_TO_WIRE[chosen[0].status if model else summary.status],
        models=[_model(one) for one in chosen],
    )
    for name in sorted(nodes):
        member = view.members[name]
        health = report.nodes.add(node_id=name, status=_TO_WIRE[node_status(member)], reason=member.reason)
        health.since.FromNanoseconds(int(member.since * 1e9))
    return report


def _model(one: ModelSummary) -> wire.ModelHealth:
    return wire.ModelHealth(
        model=one.name,
        status=_TO_WIRE[one.status],
        serving_nodes=len(one.serving),
        total_nodes=len(one.serving) + len(one.others),
        reason=one.reason or ("No node serves it." if not one.serving else ""),
    )
