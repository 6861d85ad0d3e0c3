"""Notices of providers on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub
from inferno.governance.v1.notice_pb2 import NOTICE_KIND_RECLAIM, ProviderNotice
from inferno_runtime.identity.caller import CERTIFICATE, DOOR
from tests.integration.inferno_governator.governators import governator


async def test_a_providers_notice_is_on_disk_when_it_is_answered_and_counts_once(
    database_url: str, socket_dir: Path
) -> None:
    notice = ProviderNotice(node_id="node-1", incarnation=1, kind=NOTICE_KIND_RECLAIM, action="terminate", spot=True)
    notice.reclaim_time.GetCurrentTime()
    async with governator(database_url, socket_dir) as client:
        stub: Any = GovernanceServiceStub(client.channel)
        await stub.ReportNotice(wire.ReportNoticeRequest(notice=notice), timeout=60)
        stored = (await stub.ListNotices(wire.ListNoticesRequest(), timeout=60)).notices[0].stored_time
    async with governator(database_url, socket_dir) as client:
        stub = GovernanceServiceStub(client.channel)
        notice.reclaim_time.seconds -= 30
        await stub.ReportNotice(wire.ReportNoticeRequest(notice=notice), timeout=60)
        (found,) = (await stub.ListNotices(wire.ListNoticesRequest(), timeout=60)).notices
        assert found.notice.reclaim_time.seconds == notice.reclaim_time.seconds, "an earlier end is taken note of"
        assert (found.notice.spot, found.stored_time) == (True, stored)
        later = wire.ListNoticesRequest(start=stored)
        later.start.seconds += 1
        assert not (await stub.ListNotices(later, timeout=60)).notices
        for caller, code in (
            ("node/other", grpc.StatusCode.PERMISSION_DENIED),
            ("node/node-1", grpc.StatusCode.OK),
        ):
            headers = ((DOOR, "mesh"), (CERTIFICATE, f"Hash=00;URI=spiffe://inferno/{caller}"))
            call = stub.ReportNotice(wire.ReportNoticeRequest(notice=notice), metadata=headers)
            assert await call.code() is code
