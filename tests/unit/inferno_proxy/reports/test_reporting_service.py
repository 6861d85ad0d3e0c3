"""Streams of reports: taken at a bounded pace, bounded in number, ended when the control plane stops."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferno_proxy.audit import AuditLog
from inferno_proxy.feedback.observed import Counts, Outcome, Try
from inferno_proxy.fleet import FleetView, Member, Phase, Source
from inferno_proxy.identity.gate import Gate
from inferno_proxy.reports.load_report import report_request
from inferno_proxy.reports.reporting_service import ReportingService
from inferno_proxy.resources.names import FAILED_TRIES, TRIES
from inferno_proxy.services.closing import Closing
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Exhausted, Unavailable
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import node
from tests.unit.inferno_proxy.reports.test_load_report import GRPC, endpoint, report
from tests.unit.inferno_proxy.reports.test_refused_connections import ABSENT, EXPIRED
from tests.unit.inferno_proxy.reports.test_refused_connections import message as refused
from tests.unit.inferno_proxy.reports.test_try_log import entry
from tests.unit.inferno_proxy.reports.test_try_log import message as log
from tests.waiting import eventually

FLEET = FleetView(1, {"a": Member(node("a"), Phase.SERVING, Source.AGENT, 0.0)})


class Call:
    """What a handler needs of its call: to be told when it ends."""

    def __init__(self) -> None:
        self.ended: list[Callable[[Any], None]] = []
        self.metadata: tuple[tuple[str, str], ...] = ()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.ended.append(callback)


class World:
    def __init__(self, most_streams: int = 4, audit: Path = Path(os.devnull)) -> None:
        self.clock, self.closing = ManualClock(), Closing()
        self.view = Latest(FLEET)
        self.counts: list[Counts] = []
        self.tries: list[Try] = []
        self.failures: list[Try] = []
        self.sent: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.call = Call()
        self.service = ReportingService(
            self.view,
            self.clock,
            self.closing,
            Gate(AuditLog(audit, self.clock), self.clock),
            counts=self.counts.extend,
            tries={TRIES: self.tries.extend, FAILED_TRIES: self.failures.extend},
            most_streams=most_streams,
        )

    async def requests(self) -> AsyncIterator[bytes]:
        while (sent := await self.sent.get()) is not None:
            if isinstance(sent, Exception):
                raise sent
            yield sent

    def stream(self) -> AsyncIterator[bytes]:
        call: Any = self.call
        return self.service.StreamLoadStats(self.requests(), call)

    async def all(self) -> list[bytes]:
        return [answer async for answer in self.stream()]


async def test_a_data_plane_is_asked_once_and_its_reports_are_handed_on() -> None:
    world = World()
    for each in (report(), report(endpoint(GRPC, 3)), report(endpoint(GRPC, 4)), None):
        world.sent.put_nowait(each)
    assert await world.all() == [report_request()]
    assert [each.issued for each in world.counts] == [3, 4]


async def test_the_entries_of_a_log_are_handed_on_and_strays_alone_are_not() -> None:
    world = World()
    call: Any = world.call
    for each in (log(entry(trailer="0"), entry(trailer="14")), log(entry(cluster="inferno_control")), None):
        world.sent.put_nowait(each)
    assert await world.service.StreamAccessLogs(world.requests(), call) == b""
    assert [each.outcome for each in world.tries] == [Outcome.ANSWERED, Outcome.FAILED]


async def test_the_log_of_failures_is_handed_on_apart() -> None:
    world = World()
    call: Any = world.call
    for each in (log(entry(trailer="14"), name=FAILED_TRIES), log(entry(trailer="13")), None):
        world.sent.put_nowait(each)
    await world.service.StreamAccessLogs(world.requests(), call)
    assert world.tries == []
    assert [each.outcome for each in world.failures] == [Outcome.FAILED, Outcome.FAILED]


async def test_connections_that_were_refused_are_noted_and_are_no_tries(tmp_path: Path) -> None:
    world = World(audit=tmp_path / "audit.jsonl")
    call: Any = world.call
    for each in (refused(EXPIRED), refused(ABSENT, ABSENT), None):
        world.sent.put_nowait(each)
    await world.service.StreamAccessLogs(world.requests(), call)
    noted = [json.loads(line)["refused"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [each.partition(":")[0] for each in noted] == ["CERTIFICATE_EXPIRED", "NO_CREDENTIAL"]
    assert world.tries == []


async def test_a_node_that_joins_is_known_in_the_next_report() -> None:
    world = World()
    world.view.set(FleetView())
    running = asyncio.create_task(world.all())
    world.sent.put_nowait(report(endpoint(GRPC, 3)))
    await eventually(world.sent.empty, within=1, what="the report taken")
    world.view.set(FLEET)
    world.sent.put_nowait(report(endpoint(GRPC, 4)))
    world.sent.put_nowait(None)
    await running
    assert [each.issued for each in world.counts] == [4]


async def test_a_stream_in_a_hurry_waits_and_loses_nothing() -> None:
    world = World()
    for number in range(1, 26):
        world.sent.put_nowait(report(endpoint(GRPC, number)))
    world.sent.put_nowait(None)
    running = asyncio.create_task(world.all())
    await eventually(lambda: len(world.counts) >= 20, within=1, what="a second's worth")
    assert len(world.counts) < 25
    while not running.done():
        await world.clock.advance(0.1)
    assert len(world.counts) == 25


async def test_more_streams_than_there_may_be_are_refused_until_one_ends() -> None:
    world = World(most_streams=1)
    world.sent.put_nowait(None)
    await world.all()
    with pytest.raises(Exhausted, match="1 streams of reports are open"):
        await world.all()
    world.call.ended[0](None)
    world.sent.put_nowait(None)
    assert await world.all() == []


async def test_a_stream_ends_with_a_reason_when_the_control_plane_stops() -> None:
    world = World()
    running = asyncio.create_task(world.all())
    world.sent.put_nowait(report())
    await eventually(world.sent.empty, within=1, what="the report taken")
    world.closing.begin()
    with pytest.raises(Unavailable, match="stops"):
        await running


async def test_a_call_that_ends_while_a_report_is_awaited_is_no_error() -> None:
    world = World()
    world.sent.put_nowait(report())
    world.sent.put_nowait(grpc.aio.UsageError("the call is over"))
    assert await world.all() == [report_request()]
