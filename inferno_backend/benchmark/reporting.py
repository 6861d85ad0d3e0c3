"""Capacities on their way to the governator: what a benchmark kept on this node's disk becomes what the fleet knows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import grpc

from inferno.governance.v1 import capacity_pb2, governance_service_pb2, governance_service_pb2_grpc
from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.results import HardwareResult, ModelResult, Results, newest
from inferno_backend.link import Link, joined
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unsupported
from inferno_runtime.latest import Latest

_LOG = logs.get("benchmark")
T = TypeVar("T")
Result = ModelResult | HardwareResult
_ANSWER_SECONDS = 5.0
# Of one request; the governator takes twice as many.
_REPORTS = 50
# A new result is found within this time.
_LOOK_SECONDS = 15.0
# All of them are sent again after this time: a governator may have begun a new database.
_AGAIN_SECONDS = 3600.0
# A longest wait for a mesh without a governator, which may get one.
_LONGEST_WAIT = 60.0


def message_of(node_id: str, result: ModelResult) -> capacity_pb2.CapacityReport:
    """A result on the wire."""
    subject = result.subject
    report = capacity_pb2.CapacityReport(
        node_id=node_id,
        hardware=subject.machine.key,
        hardware_name=subject.machine.name,
        model=subject.model,
        files=subject.files,
        configuration=subject.configuration,
        settings=subject.settings,
        objective_micros=_micros(result.objective_ms or 0),
        triton_version=result.triton,
        complete=result.complete,
        steps=[_step(step) for step in result.steps],
    )
    report.measured_at.FromMicroseconds(result.measured_micros)
    return report


def _step(step: Step) -> capacity_pb2.CapacityStep:
    return capacity_pb2.CapacityStep(
        batch=step.batch,
        concurrency=step.concurrency,
        requests=step.requests,
        failures=step.failures,
        requests_per_second=step.requests_per_second,
        uncertainty=step.uncertainty if math.isfinite(step.uncertainty) else -1.0,
        p50_micros=_micros(step.p50_ms),
        p95_micros=_micros(step.p95_ms),
        p99_micros=_micros(step.p99_ms),
        generator_cores=step.generator_cores,
    )


def _micros(milliseconds: float) -> int:
    return round(milliseconds * 1000)


def figures_of(node_id: str, result: HardwareResult) -> list[capacity_pb2.DeviceFigure]:
    """What the devices showed, on the wire."""
    figures = []
    for each in result.figures:
        figure = capacity_pb2.DeviceFigure(
            node_id=node_id,
            hardware=result.machine.key,
            device_id=each.device,
            device_name=each.name,
            figure=each.figure,
            value=each.value,
            unit=each.unit,
            spread=each.spread,
            library=each.library,
        )
        figure.measured_at.FromMicroseconds(result.measured_micros)
        figures.append(figure)
    return figures


async def send(proxies: Sequence[str], link: Link, node_id: str, results: Sequence[Result]) -> None:
    """Have the governator behind the first proxy that lets us store results; when this returns they are on disk there.

    Raises:
        InfernoError: None does; a temporary error when one may do so later.
    """
    refusals: list[InfernoError] = []
    reports = [message_of(node_id, each) for each in results if isinstance(each, ModelResult)]
    devices = [figure for each in results if isinstance(each, HardwareResult) for figure in figures_of(node_id, each)]
    for proxy in proxies:
        try:
            await _send(proxy, link, reports, devices)
        except InfernoError as error:
            refusals.append(error)
        else:
            return
    raise next((error for error in refusals if error.temporary), refusals[0])


async def _send(
    proxy: str,
    link: Link,
    reports: Sequence[capacity_pb2.CapacityReport],
    devices: Sequence[capacity_pb2.DeviceFigure],
) -> None:
    requests = [governance_service_pb2.ReportCapacityRequest(reports=part) for part in _parts(reports)]
    requests += [governance_service_pb2.ReportCapacityRequest(devices=part) for part in _parts(devices)]
    async with link.channel(proxy) as channel:
        stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
        for request in requests:
            try:
                await stub.ReportCapacity(request, timeout=_ANSWER_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise rpc.error_from_rpc(error, f"the governator behind {proxy}") from error


def _parts(every: Sequence[T]) -> list[Sequence[T]]:
    return [every[at : at + _REPORTS] for at in range(0, len(every), _REPORTS)]


class CapacityReporting:
    """Sends the newest result about each model and about the devices, and each new one, while the agent runs."""

    def __init__(
        self, proxies: Sequence[str], node_id: str, results: Results, clock: Clock, links: Latest[Link | None]
    ) -> None:
        self._proxies = proxies
        self._node_id = node_id
        self._results = results
        self._clock = clock
        self._links = links
        self._sent: set[Result] = set()
        self._again = clock.monotonic() + _AGAIN_SECONDS
        self._told = ""

    async def run(self) -> None:
        """Send until cancelled."""
        backoff = Backoff(0.5, _LONGEST_WAIT)
        while True:
            link = await joined(self._links)
            try:
                await self._send_news(link)
            except InfernoError as error:
                self._tell(error)
                await self._clock.sleep(backoff.next())
            else:
                backoff.reset()
                self._told = ""
                await self._clock.sleep(_LOOK_SECONDS)

    async def _send_news(self, link: Link) -> None:
        if self._clock.monotonic() >= self._again:
            self._sent.clear()
            self._again = self._clock.monotonic() + _AGAIN_SECONDS
        news = [one for one in await asyncio.to_thread(self._newest) if one not in self._sent]
        if not news:
            return
        await send(self._proxies, link, self._node_id, news)
        self._sent.update(news)
        _LOG.info("the governator has what benchmarks showed", results=len(news))

    def _newest(self) -> list[Result]:
        return [*newest(self._results.models()), *self._results.hardware()[-1:]]

    def _tell(self, error: InfernoError) -> None:
        if self._told != error.reason:
            self._told = error.reason
            # A mesh may do without a governator, or have an older one.
            say = _LOG.debug if isinstance(error, Unsupported) else _LOG.warning
            say("what benchmarks showed waits", error=error.sentence())
