"""Notices as each cloud gives them, by stand-ins for their metadata services, and on their way to the governator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from benchmarks.metadata_service import MetadataService, metadata_service
from inferno.governance.v1 import notice_pb2
from inferno_backend.cloud.asking import found
from inferno_backend.cloud.machine import Asked, Kind
from inferno_backend.cloud.notices import Notices, Standing
from inferno_backend.cloud.reporting import NoticeReport
from inferno_backend.link import PLAIN
from inferno_backend.node import Hardware, Identity
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InvalidInput, Unavailable
from inferno_runtime.latest import Latest
from inferno_runtime.process import free_port
from tests.integration.inferno_backend.mesh import mesh
from tests.waiting import eventually

# Noticed within this; the promise is 2 s, on a machine that may be busy.
SOON = 5.0


@asynccontextmanager
async def noticing(provider: Asked, service: MetadataService) -> AsyncIterator[Notices]:
    async with found(provider, service.address, SystemClock()) as (machine, cloud):
        assert cloud is not None
        assert cloud.gives_notice(machine)
        notices = Notices(cloud, SystemClock())
        running = asyncio.create_task(notices.run())
        try:
            yield notices
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def first(notices: Notices) -> Standing:
    async with asyncio.timeout(SOON):
        return (await notices.standing.wait_for(bool))[0]


async def test_ec2_says_when_it_takes_a_spot_instance_back() -> None:
    async with metadata_service() as service, noticing("aws", service) as notices:
        await eventually(lambda: "GET /latest/meta-data/spot/instance-action" in service.asked, SOON, "it looks")
        service.tokens.clear()
        service.interrupt(120)
        one = await first(notices)
        assert (one.kind, one.action) == (Kind.RECLAIM, "terminate")
        assert notices.seconds_left == pytest.approx(119, abs=4)
        assert "(terminate)" in notices.draining.value
        assert len(service.tokens) == 1, "a token that the service has forgotten is asked for again"


async def test_an_instance_whose_clock_is_wrong_reckons_by_the_services() -> None:
    async with metadata_service() as service, noticing("aws", service) as notices:
        service.clock_ahead = 3600
        service.interrupt(120)
        await first(notices)
        assert notices.seconds_left == pytest.approx(119, abs=4)


async def test_ec2_advice_to_leave_is_passed_on_and_drains_nobody() -> None:
    async with metadata_service() as service, noticing("aws", service) as notices:
        service.rebalance = "2026-11-23T15:40:00Z"
        assert (await first(notices)).kind is Kind.REBALANCE
        assert not notices.draining.value
        assert notices.seconds_left is None


async def test_an_action_whose_time_cannot_be_read_is_an_end_all_the_same() -> None:
    async with metadata_service() as service, noticing("aws", service) as notices:
        service.action = {"action": "stop", "time": "soon"}
        assert (await first(notices)).deadline is None
        assert "back soon (stop)" in notices.draining.value


async def test_an_instance_that_is_not_spot_is_never_told_of_its_end() -> None:
    async with metadata_service() as service:
        service.life_cycle = "on-demand"
        async with found("aws", service.address, SystemClock()) as (machine, cloud):
            assert cloud is not None
            assert not cloud.gives_notice(machine)


async def test_compute_engine_tells_who_waits_at_once() -> None:
    async with metadata_service() as service, noticing("gcp", service) as notices:
        path = "GET /computeMetadata/v1/instance/preempted"
        await eventually(lambda: service.asked.count(path) == 2, SOON, "it waits for a change")
        service.change("maintenance-event", "MIGRATE_ON_HOST_MAINTENANCE")
        assert (await first(notices)).action == "migrate on host maintenance"
        assert not notices.draining.value
        service.change("preempted", "TRUE")
        await eventually(lambda: notices.draining.value, SOON, "it drains")
        assert notices.seconds_left == pytest.approx(30, abs=3)


async def test_azure_tells_of_all_machines_of_a_set_and_each_finds_its_own() -> None:
    async with metadata_service() as service, noticing("azure", service) as notices:
        service.schedule("Preempt", 30, "gpu-1", "gpu-2")
        service.schedule("Freeze", 900, "gpu-7")
        assert (await first(notices)).action == "freeze"
        service.schedule("Reboot", 900, "gpu-7")
        await eventually(lambda: notices.seconds_left, SOON, "the reboot is known")
        assert not notices.draining.value, "it is a quarter of an hour away"
        service.schedule("Preempt", 30, "gpu-7")
        await eventually(lambda: "(preempt)" in notices.draining.value, SOON, "it drains")
        assert notices.seconds_left == pytest.approx(29, abs=4)
        service.schedule("Redeploy", None, "gpu-7")
        await eventually(lambda: notices.seconds_left == 0, SOON, "what has begun is due now")


async def test_an_azure_event_without_a_time_is_as_near_as_its_kind_may_be() -> None:
    async with metadata_service() as service:
        service.closed = True
        async with found("azure", service.address, SystemClock()) as (_, cloud):
            assert cloud is not None
            service.closed = False
            for what in ("Preempt", "Terminate"):
                service.schedule(what, 30, "gpu-7")
                service.events[-1]["NotBefore"] = "soon"
            # Its own name, which it did not get at first, it has to ask for.
            assert [(one.action, one.left) for one in await cloud.look()] == [("preempt", 30.0), ("terminate", None)]


async def test_a_server_that_gives_no_versions_is_asked_once_a_second() -> None:
    async with metadata_service() as service, noticing("gcp", service) as notices:
        service.versioned = False
        service.change("maintenance-event", "NONE")
        path = "GET /computeMetadata/v1/instance/maintenance-event"
        before = service.asked.count(path)
        began = time.monotonic()
        await eventually(lambda: service.asked.count(path) > before + 2, 3 * SOON, "it is asked again")
        assert time.monotonic() - began > 0.9
        service.change("preempted", "TRUE")
        await first(notices)


@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
async def test_a_service_that_refuses_for_a_while_is_told_of_once_and_asked_again(provider: Asked) -> None:
    async with metadata_service() as service, noticing(provider, service) as notices:
        count = len(service.asked)
        with capture_logs() as lines:
            service.closed = True
            service.change("maintenance-event", "NONE")
            await eventually(lambda: len(service.asked) > count + 2 and lines, 3 * SOON, "it is asked again")
            service.closed = False
            service.interrupt(60)
            service.change("preempted", "TRUE")
            service.schedule("Preempt", 30, "gpu-7")
            await eventually(lambda: notices.draining.value, 2 * SOON, "it is heard again")
        said = [line for line in lines if "cannot be read" in line["event"]]
        assert len(said) == 1, lines
        assert "403" in said[0]["error"] or "token" in said[0]["error"]


IDENTITY = Identity("n1", 7, Hardware(1, 1), "0.1.0", provider="aws", instance_id="i-1", zone="z", spot=True)
STANDING = Standing(Kind.RECLAIM, "terminate", 1_700_000_000.25, 5.0, 1_700_000_120.0)


@asynccontextmanager
async def reporting(*proxies: str) -> AsyncIterator[Latest[tuple[Standing, ...]]]:
    standing = Latest[tuple[Standing, ...]](())
    report = NoticeReport(proxies, IDENTITY, standing, SystemClock(), Latest(PLAIN))
    running = asyncio.create_task(report.run())
    try:
        yield standing
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_the_governator_is_told_through_whichever_proxy_answers_once_for_each_notice() -> None:
    async with mesh() as far, reporting(f"127.0.0.1:{free_port()}", far.address) as standing:
        far.store.notice_refusals = [Unavailable("The store is busy.", reason="BUSY")] * 2
        standing.set((STANDING,))
        await eventually(lambda: far.store.notices, SOON, "it is told")
        standing.set((STANDING, Standing(Kind.REBALANCE, "leave", 1.0)))
        await eventually(lambda: len(far.store.notices) == 2, SOON, "the second is told")
    told, advice = far.store.notices
    assert told.noticed_time.ToMilliseconds() == 1_700_000_000_250
    assert told.reclaim_time.seconds == 1_700_000_120
    assert (told.node_id, told.incarnation, told.kind) == ("n1", 7, notice_pb2.NOTICE_KIND_RECLAIM)
    assert (told.provider, told.instance_id, told.zone, told.spot) == ("aws", "i-1", "z", True)
    assert not advice.HasField("reclaim_time")


async def test_a_notice_that_is_never_taken_holds_the_next_one_up_no_longer() -> None:
    async with mesh() as far, reporting(far.address) as standing:
        far.store.notice_refusals = [InvalidInput("No such kind.", reason="BAD_NOTICE")]
        with capture_logs() as lines:
            standing.set((STANDING, Standing(Kind.REBALANCE, "leave", 1.0)))
            await eventually(lambda: far.store.notices, SOON, "the next one is told")
        assert far.store.notices[0].action == "leave"
        assert "No such kind." in next(line["error"] for line in lines if line["log_level"] == "warning")
