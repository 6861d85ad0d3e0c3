"""Capacities on their way to the governator: what a benchmark kept on this node's disk becomes what the fleet knows."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import grpc

from inferno.governance.v1 import capacity_pb2, governance_service_pb2, governance_service_pb2_grpc
from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.results import ModelResult, Results, newest
from inferno_backend.link import Link, joined
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, Unsupported
from inferno_runtime.latest import Latest

_LOG = logs.get("benchmark")
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


async def send(proxies: Sequence[str], link: Link, node_id: str, results: Sequence[ModelResult]) -> None:
    """Have the governator behind the first proxy that lets us store results; when this returns they are on disk there.

    Raises:
        InfernoError: None does; a temporary error when one may do so later.
    """
    refusals: list[InfernoError] = []
    for proxy in proxies:
        try:
            await _send(proxy, link, [message_of(node_id, each) for each in results])
        except InfernoError as error:
            refusals.append(error)
        else:
            return
    raise next((error for error in refusals if error.temporary), refusals[0])


async def _send(proxy: str, link: Link, reports: Sequence[capacity_pb2.CapacityReport]) -> None:
    async with link.channel(proxy) as channel:
        stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
        for at in range(0, len(reports), _REPORTS):
            request = governance_service_pb2.ReportCapacityRequest(reports=reports[at : at + _REPORTS])
            try:
                await stub.ReportCapacity(request, timeout=_ANSWER_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise rpc.error_from_rpc(error, f"the governator behind {proxy}") from error


class CapacityReporting:
    """Sends the newest result about each model, and each new one, while the agent runs."""

    def __init__(
        self, proxies: Sequence[str], node_id: str, results: Results, clock: Clock, links: Latest[Link | None]
    ) -> None:
        self._proxies = proxies
        self._node_id = node_id
        self._results = results
        self._clock = clock
        self._links = links
        self._sent: set[ModelResult] = set()
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
        news = [one for one in newest(await asyncio.to_thread(self._results.models)) if one not in self._sent]
        if not news:
            return
        await send(self._proxies, link, self._node_id, news)
        self._sent.update(news)
        _LOG.info("the governator has what benchmarks showed", results=len(news))

    def _tell(self, error: InfernoError) -> None:
        if self._told != error.reason:
            self._told = error.reason
            # A mesh may do without a governator, or have an older one.
            say = _LOG.debug if isinstance(error, Unsupported) else _LOG.warning
            say("what benchmarks showed waits", error=error.sentence())
