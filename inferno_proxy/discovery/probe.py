"""Looks after the nodes that no agent speaks for: reads their models, and notices when they stop answering."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc

from inferno_proxy.discovery.reading import Reader
from inferno_proxy.fleet import Address, Node, Source
from inferno_proxy.identity.membership import Membership, dial
from inferno_proxy.registry.registry import Registry
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock

# An agent that lost its control plane returns within about a second; looking at its server then would be waste.
_AGENTS_RETURN_WITHIN = 2.0
_MISSES = 2
_LOOK_EACH = 50e-6


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a server is looked at: every ``shortest`` seconds while few are, ``each`` times their number when many
    are; how long an answer may take; how slow it gets for a server that does not answer."""

    shortest: float = 0.1
    each: float = 0.002
    timeout: float = 0.5
    slowest: float = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """One life of one server."""

    node_id: str
    incarnation: int
    address: Address
    source: Source
    models: tuple[str, ...]
    tls: bool = False

    @classmethod
    def of(cls, node: Node, source: Source) -> Target:
        """The target a node is; its models are named only once they matter (see :class:`Reader`)."""
        return cls(
            node.node_id, node.incarnation, node.grpc_address, source, tuple(m.name for m in node.models), node.tls
        )

    @property
    def key(self) -> tuple[str, int, Address]:
        """What makes it another target."""
        return self.node_id, self.incarnation, self.address


class Prober:
    """One task for each server without an agent's word, as the registry's view says."""

    def __init__(
        self, registry: Registry, clock: Clock, pace: Pace | None = None, proxy: Membership | None = None
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._pace = pace or Pace()
        self._proxy = proxy
        self._watched: dict[tuple[str, int, Address], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look after the servers until cancelled."""
        async with asyncio.TaskGroup() as group:
            async for _ in self._registry.view.watch():
                targets = [Target.of(node, source) for node, source in self._registry.unattended()]
                wanted = {target.key: target for target in targets}
                for key in self._watched.keys() - wanted.keys():
                    self._watched.pop(key).cancel()
                for key in wanted.keys() - self._watched.keys():
                    self._watched[key] = group.create_task(self._watch(wanted[key]), name=f"probe-{key[0]}")
                # Looking through a large fleet at each of its changes would take all the time there is.
                await self._clock.sleep(_LOOK_EACH * len(self._registry.view.value.members))

    async def _watch(self, target: Target) -> None:
        if target.source is Source.AGENT:
            await self._clock.sleep(_AGENTS_RETURN_WITHIN)
        waits = Backoff(self._pace.shortest, self._pace.slowest)
        misses = 0
        async with dial(target.address, tls=target.tls, member=self._proxy) as channel:
            reader = Reader(channel, target.models)
            while True:
                try:
                    reading = await reader.read(self._pace.timeout)
                except grpc.aio.AioRpcError as error:
                    misses += 1
                    if misses >= _MISSES:
                        self._registry.miss(target.node_id, target.incarnation, _evidence(target, error))
                    await self._clock.sleep(waits.next())
                else:
                    misses = 0
                    waits.reset()
                    self._registry.observe(target.node_id, target.incarnation, reading.models, reading.server_version)
                    await self._clock.sleep(max(self._pace.shortest, self._pace.each * len(self._watched)))


def _evidence(target: Target, error: grpc.aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"Its model server at {target.address} does not answer in time."
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return f"Its model server at {target.address} cannot be reached."
    return f"Its model server at {target.address} answers {error.code().name}: {(error.details() or '')[:200]}"
