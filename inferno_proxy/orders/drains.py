"""Drains that the governator wishes, made as ``inferno drain`` makes them, and how much of each node is under way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc

from inferno.governance.v1 import drain_pb2, governance_service_pb2_grpc
from inferno_proxy.audit import AuditLog
from inferno_proxy.fleet import Member
from inferno_proxy.registry.registry import Registry
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, NotFound
from inferno_runtime.identity.caller import Caller
from inferno_runtime.identity.caller import Kind as CallerKind

_LOG = logs.get("drains")
_EVERY = 1.0
# Seconds after which what data planes and agents say counts calls that were sent before the drain reached them: some
# of their intervals, and what a configuration takes.
SETTLE = 4.0
# A drain ends by itself unless the governator goes on to wish it: seconds it is given, and left when it gets more.
LEASE, RENEW = 900.0, 600.0
_LONGEST_REASON = 200
_CALLER = Caller(CallerKind.LOCAL, "governator")


class Draining:
    """Follows the governator at ``target`` as the proxy ``name``; ``under_way`` counts data planes' calls on a node."""

    def __init__(
        self,
        target: str,
        name: str,
        registry: Registry,
        under_way: Callable[[str], int],
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._target = target
        self._name = name
        self._registry = registry
        self._under_way = under_way
        self._audit = audit
        self._clock = clock
        # Since when (monotonic seconds) each node drains that was wished last.
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        """Follow until cancelled. While the governator is away, what it wished last holds until its end."""
        backoff = Backoff(_EVERY, 10.0)
        async with rpc.channel(self._target) as channel:
            stub: Any = governance_service_pb2_grpc.GovernanceServiceStub(channel)
            while True:
                try:
                    answer = await stub.ExchangeDrains(self.report(), timeout=10)
                    self.follow(answer)
                    backoff.reset()
                    await self._clock.sleep(_EVERY)
                    continue
                except grpc.aio.AioRpcError as error:
                    _LOG.debug("drains are not told", reason=rpc.error_from_rpc(error, "the governator").sentence())
                except InfernoError as error:
                    _LOG.error("a drain is not made", reason=error.sentence())
                await self._clock.sleep(backoff.next())

    def report(self) -> drain_pb2.ExchangeDrainsRequest:
        """How far this proxy is with what was wished last."""
        return drain_pb2.ExchangeDrainsRequest(
            proxy_id=self._name, nodes=[self._progress(node) for node in sorted(self._since)]
        )

    def follow(self, answer: drain_pb2.ExchangeDrainsResponse) -> None:
        """Have what is wished drained, and what is wished no more back in work.

        Raises:
            InfernoError: It cannot be noted in the audit log, so it is not done.
        """
        if not answer.known:
            return
        for wish in answer.drains:
            self._drain(wish.node_id, wish.reason)
        for node in sorted(set(self._since) - {each.node_id for each in answer.drains}):
            self._undrain(node)

    def _drain(self, node: str, reason: str) -> None:
        self._since.setdefault(node, self._clock.monotonic())
        try:
            order = self._registry.drain_of(node)
        except NotFound:
            return
        if order.drained and (order.ends is None or order.ends - self._clock.wall() > RENEW):
            # An operator's drain without an end is left as it is, and one of ours that lasts.
            return
        if not order.drained:
            said = "".join(each for each in reason if each.isprintable())[:_LONGEST_REASON]
            self._audit.write(_CALLER, "DRAIN_NODE", node, said)
            self._since[node] = self._clock.monotonic()
        self._registry.drain(node, ends=self._clock.wall() + LEASE)

    def _undrain(self, node: str) -> None:
        try:
            order = self._registry.drain_of(node)
        except NotFound:
            del self._since[node]
            return
        if order.drained and order.ends is not None:
            self._audit.write(_CALLER, "UNDRAIN_NODE", node)
            self._registry.drain(node, drained=False)
        del self._since[node]

    def _progress(self, node: str) -> drain_pb2.DrainProgress:
        try:
            member = self._registry.member(node)
        except NotFound:
            return drain_pb2.DrainProgress(node_id=node)
        since = self._since[node]
        settled = not member.takes_work and self._clock.monotonic() - since >= SETTLE
        busy = max(self._under_way(node), _reported(member, since))
        return drain_pb2.DrainProgress(node_id=node, known=True, drained=settled, in_flight=busy)


def _reported(member: Member, since: float) -> int:
    """What its agent says is queued and executes, if it has said so since it drains."""
    load = member.load
    if load is None or load.at < since:
        return 0
    return sum(each.queued + math.ceil(each.executing) for each in load.models)
