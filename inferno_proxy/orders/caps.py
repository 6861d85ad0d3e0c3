"""Caps that the governator tells of, as orders: kept, audited, explained and ended like those of operators."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import grpc

from inferno.governance.v1 import cap_pb2, governance_service_pb2_grpc
from inferno_proxy.audit import AuditLog
from inferno_proxy.orders.desk import OrderDesk
from inferno_proxy.orders.order import Key, Kind, Order
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError
from inferno_runtime.identity.caller import Caller
from inferno_runtime.identity.caller import Kind as CallerKind

_LOG = logs.get("caps")
BY = "the governator"
_LONGEST_REASON = 200

_CALLER = Caller(CallerKind.LOCAL, "governator")


def order(cap: cap_pb2.Cap, now: float) -> Order:
    """A cap as an order that was given at ``now`` (Unix seconds)."""
    reason = "".join(each for each in cap.reason if each.isprintable())[:_LONGEST_REASON]
    patch = {"team": cap.team, "key": cap.key, "model": cap.model}
    return Order(Kind.CAP, subject_of(patch), BY, now, reason, float(cap.until.seconds), patch=MappingProxyType(patch))


def subject_of(patch: dict[str, str]) -> str:
    """Whose calls, in words.

    >>> subject_of({"team": "search", "key": "", "model": "m"}), subject_of({"team": "", "key": "", "model": ""})
    ('team search, model m', 'everybody')
    """
    return ", ".join(f"{name} {value}" for name, value in patch.items() if value) or "everybody"


class Capping:
    """Follows the governator at ``target`` and keeps the ``desk`` to what it says."""

    def __init__(self, target: str, desk: OrderDesk, audit: AuditLog, clock: Clock) -> None:
        self._target = target
        self._desk = desk
        self._audit = audit
        self._clock = clock

    async def run(self) -> None:
        """Follow until cancelled; while the governator is away, what it said last holds until each cap ends."""
        backoff = Backoff(0.2, 10.0)
        async with rpc.channel(self._target) as channel:
            stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
            while True:
                try:
                    async for told in stub.WatchCaps(cap_pb2.WatchCapsRequest()):
                        backoff.reset()
                        await self.hold(told.caps)
                except grpc.aio.AioRpcError as error:
                    _LOG.debug("caps are not told", reason=rpc.error_from_rpc(error, "the governator").sentence())
                except InfernoError as error:
                    _LOG.error("caps are not in force", reason=error.sentence())
                await self._clock.sleep(backoff.next())

    async def hold(self, caps: Iterable[cap_pb2.Cap]) -> None:
        """Have these caps in force, and none other of the governator.

        Raises:
            InfernoError: An order cannot be kept or noted.
        """
        now = self._clock.wall()
        wanted = {each.key: each for each in (order(cap, now) for cap in caps) if (each.expires or 0) > now}
        for each in wanted.values():
            if _changed(self._desk.of(*each.key), each):
                detail = f"{each.what()} until {_moment(each.expires or 0)} ({each.reason})"
                await self._desk.place(each, partial(self._audit.write, _CALLER, "CAP", each.subject, detail))
        gone: list[Key] = [
            key
            for key, each in self._desk.book.value.items()
            if key[0] is Kind.CAP and each.by == BY and key not in wanted
        ]
        if gone:
            await self._desk.clear(gone, BY, partial(self._lifted, [subject for _, subject in gone]))

    def _lifted(self, subjects: Iterable[str]) -> None:
        for each in subjects:
            self._audit.write(_CALLER, "LIFT_CAP", each)


def _changed(before: Order | None, after: Order) -> bool:
    return before is None or (before.reason, before.expires) != (after.reason, after.expires)


def _moment(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds")
