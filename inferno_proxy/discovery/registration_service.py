"""RegistrationService: leases over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, cast

import grpc
from google.protobuf import duration_pb2

from inferno.registration.v1 import registration_service_pb2 as wire
from inferno.registration.v1 import registration_service_pb2_grpc as stubs
from inferno_proxy.discovery.names import resolve_node
from inferno_proxy.fleet import Source
from inferno_proxy.identity.gate import Gate
from inferno_proxy.registry.admission import refusal
from inferno_proxy.registry.lease import Lease, Outlook
from inferno_proxy.registry.registry import Registry
from inferno_proxy.services.node_wire import loads_from_wire, node_from_wire
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, InvalidInput, Unavailable
from inferno_runtime.identity.caller import Caller, caller_of
from inferno_runtime.identity.permission import Action

ANNOUNCED_FOR = 30.0
_ANNOUNCED_AT_MOST = 24 * 3600.0

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Announced:
    """A node without an agent that was let in, for ``duration`` seconds from now."""

    node_id: str
    incarnation: int
    duration: float


class RegistrationService(stubs.RegistrationServiceServicer):
    """Translates between the wire and the registry; ``tasks`` owns what a stream needs beside its handler.

    Who may speak for a node is ``gate``'s affair.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        gate: Gate,
        *,
        first_word_within: float = 30.0,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._tasks = tasks
        self._gate = gate
        self._first_word_within = first_word_within

    async def Register(
        self, request_iterator: AsyncIterator[wire.RegisterRequest], context: Context
    ) -> AsyncIterator[wire.RegisterResponse]:
        """Hold a lease for as long as requests arrive.

        The input's end says nothing: gRPC ends it before it cancels a handler, and a network may end it too. So the
        stream lives on until the lease is over, the control plane stops, or the client is gone.
        """
        lease = await self._first(request_iterator, caller_of(context))
        reader = self._tasks.create_task(self._read(request_iterator, lease), name=f"register-{lease.node_id}")

        def clean_up() -> None:
            # Synchronous: an await in here is where gRPC would cancel the clean-up itself.
            reader.cancel()
            lease.detach()

        # When a client cancels, a generator suspended at its yield hears of that late; the call itself at once.
        context.add_done_callback(cast("Any", lambda _: clean_up()))
        try:
            async for outlook in lease.outlook.watch():
                if outlook.ended is not None:
                    raise outlook.ended
                yield self._response(outlook)
        finally:
            clean_up()

    async def _first(self, requests: AsyncIterator[wire.RegisterRequest], caller: Caller) -> Lease:
        try:
            async with asyncio.timeout(self._first_word_within):
                first = await anext(requests, None)
        except TimeoutError as error:
            # A control plane with its hands full may be what is slow: the agent is to come again.
            raise Unavailable(
                f"No word came within {self._first_word_within:g} s of the stream's beginning.",
                reason="SILENT",
                fix="Send `node` and `revision` at once.",
            ) from error
        if first is None or not first.HasField("node"):
            raise InvalidInput(
                "The first request of a registration carries no node.",
                reason="MALFORMED_NODE",
                fix="Send `node` and `revision` first.",
                metadata={"field": "node"},
            )
        self._gate.admit(caller, Action.REGISTER, first.node.node_id)
        node = await resolve_node(node_from_wire(first.node, first.revision))
        lease = self._registry.join(node)
        if first.HasField("load"):
            lease.renew(loads_from_wire(first.load))
        return lease

    async def _read(self, requests: AsyncIterator[wire.RegisterRequest], lease: Lease) -> None:
        """Take in heartbeats and changes; what is wrong with one ends the stream through its outlook."""
        try:
            async for request in requests:
                if request.HasField("node"):
                    lease.update(await resolve_node(node_from_wire(request.node, request.revision)))
                lease.renew(loads_from_wire(request.load) if request.HasField("load") else None)
        except InfernoError as error:
            lease.outlook.set(replace(lease.outlook.value, ended=error))

    def _response(self, outlook: Outlook) -> wire.RegisterResponse:
        duration = duration_pb2.Duration()
        duration.FromNanoseconds(int(outlook.duration * 1e9))
        return wire.RegisterResponse(
            lease_duration=duration,
            applied_revision=outlook.applied_revision,
            desired_phase=wire.DESIRED_PHASE_DRAIN if outlook.drain else wire.DESIRED_PHASE_SERVE,
            desired_models=[
                wire.DesiredModel(model=model, loaded=wish.loaded, generation=wish.generation)
                for model, wish in sorted(outlook.wanted.items())
            ],
        )

    async def Announce(self, request: wire.AnnounceRequest, context: Context) -> wire.AnnounceResponse:
        """Let in a node that has no agent."""
        announced = await self.announce(request, caller_of(context))
        answer = wire.AnnounceResponse(node_id=announced.node_id, incarnation=announced.incarnation)
        answer.lease_duration.FromNanoseconds(int(announced.duration * 1e9))
        return answer

    async def announce(self, request: wire.AnnounceRequest, caller: Caller) -> Announced:
        """As Announce, for callers in this process.

        Raises:
            InvalidInput: The node or the duration is malformed.
            AlreadyExists: A live agent holds the name.
            Unauthenticated: Nobody knows who calls.
            Denied: The caller may not speak for the node.
        """
        if not request.HasField("node"):
            raise refusal("node_id", "the node is missing", "Send at least node_id and grpc_address.")
        self._gate.admit(caller, Action.REGISTER, request.node.node_id)
        duration = request.lease_duration.ToNanoseconds() / 1e9 if request.HasField("lease_duration") else ANNOUNCED_FOR
        if not 1 <= duration <= _ANNOUNCED_AT_MOST:
            raise InvalidInput(
                f"lease_duration is {duration:g} s, not 1 s to 24 h.",
                reason="MALFORMED_NODE",
                fix="Choose a duration in that range and announce again before it ends.",
                metadata={"field": "lease_duration"},
            )
        node = await resolve_node(node_from_wire(request.node, 1))
        known = self._registry.view.value.members.get(node.node_id)
        if known is not None and node.incarnation in (0, known.node.incarnation):
            # The same life: what the probe has read of it stays, unless the caller names models itself.
            same = known.node
            node = replace(
                node,
                incarnation=same.incarnation,
                revision=same.revision + 1,
                models=node.models or same.models,
                server_version=node.server_version or same.server_version,
            )
        elif node.incarnation == 0:
            now = int(self._clock.wall() * 1e9)
            node = replace(node, incarnation=self._registry.next_incarnation(node.node_id, now))
        self._registry.join(node, Source.ANNOUNCED, duration, attached=False)
        return Announced(node.node_id, node.incarnation, duration)

    async def Deregister(self, request: wire.DeregisterRequest, context: Context) -> wire.DeregisterResponse:
        """Take a node out."""
        self.deregister(request.node_id, request.incarnation, caller_of(context))
        return wire.DeregisterResponse()

    def deregister(self, node_id: str, incarnation: int | None, caller: Caller) -> int:
        """As Deregister, for callers in this process; without an incarnation the one there is. The one it was.

        Raises:
            NotFound: There is no such node.
            Fenced: Another incarnation has taken over.
            Unauthenticated: Nobody knows who calls.
            Denied: The caller may not speak for the node.
        """
        self._gate.admit(caller, Action.REGISTER, node_id)
        ended = self._registry.member(node_id).node.incarnation if incarnation is None else incarnation
        self._registry.deregister(node_id, ended)
        return ended
