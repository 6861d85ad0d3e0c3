"""Notices on their way to the governator, which has to find another machine: at once, ahead of all telemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2, governance_service_pb2_grpc, notice_pb2
from inferno_backend.cloud.machine import Kind
from inferno_backend.cloud.notices import Standing
from inferno_backend.link import Link, joined
from inferno_backend.node import Identity
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError
from inferno_runtime.latest import Latest

_LOG = logs.get("cloud")
_ANSWER_SECONDS = 1.0
_KINDS = {
    Kind.RECLAIM: notice_pb2.NOTICE_KIND_RECLAIM,
    Kind.REBALANCE: notice_pb2.NOTICE_KIND_REBALANCE,
    Kind.MAINTENANCE: notice_pb2.NOTICE_KIND_MAINTENANCE,
}


def message_of(identity: Identity, one: Standing) -> notice_pb2.ProviderNotice:
    """A notice of this node's provider."""
    return notice_pb2.ProviderNotice(
        node_id=identity.node_id,
        incarnation=identity.incarnation,
        kind=_KINDS[one.kind],
        action=one.action,
        noticed_time=_timestamp(one.noticed),
        reclaim_time=None if one.ends is None else _timestamp(one.ends),
        provider=identity.provider,
        region=identity.region,
        zone=identity.zone,
        instance_type=identity.instance_type,
        instance_id=identity.instance_id,
        spot=identity.spot,
    )


def _timestamp(wall: float) -> Timestamp:
    time = Timestamp()
    time.FromMicroseconds(int(wall * 1_000_000))
    return time


class NoticeReport:
    """Tells every notice to the governator behind the proxies until it is on disk there, or will never be taken."""

    def __init__(
        self,
        proxies: Sequence[str],
        identity: Identity,
        standing: Latest[tuple[Standing, ...]],
        clock: Clock,
        links: Latest[Link | None],
    ) -> None:
        self._proxies = proxies
        self._identity = identity
        self._standing = standing
        self._clock = clock
        self._links = links
        self._told: set[Standing] = set()

    async def run(self) -> None:
        """Report until cancelled."""
        async for standing in self._standing.watch():
            for one in standing:
                if one not in self._told:
                    await self._report(one)

    async def _report(self, one: Standing) -> None:
        """Ask all proxies at the same time, again and again: a machine may have 30 s left."""
        backoff = Backoff(0.1, 1.0)
        request = governance_service_pb2.ReportNoticeRequest(notice=message_of(self._identity, one))
        while True:
            link = await joined(self._links)
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self._ask(link, proxy, request)) for proxy in self._proxies]
            errors = [each.result() for each in asked]
            if None in errors:
                _LOG.info("the governator has the notice", kind=one.kind.value, action=one.action)
                break
            failed = [error for error in errors if error is not None]
            if not any(error.temporary for error in failed):
                _LOG.warning("the governator does not take the notice", error=failed[0].sentence())
                break
            _LOG.debug("the notice is not reported yet", error=failed[0].message)
            await self._clock.sleep(backoff.next())
        self._told.add(one)

    async def _ask(
        self, link: Link, proxy: str, request: governance_service_pb2.ReportNoticeRequest
    ) -> InfernoError | None:
        """Why it is not reported through this proxy; None: it is on disk."""
        async with link.channel(proxy) as channel:
            stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
            try:
                await stub.ReportNotice(request, timeout=_ANSWER_SECONDS)
            except grpc.aio.AioRpcError as error:
                return rpc.error_from_rpc(error, f"the governator behind {proxy}")
        return None
