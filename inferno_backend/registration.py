"""The node's place in one proxy's mesh: a stream with a lease, opened again whenever it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import grpc

from inferno.registration.v1 import node_pb2, registration_service_pb2, registration_service_pb2_grpc
from inferno_backend.link import Link, joined
from inferno_backend.node import Identity, ModelLoad, Revised
from inferno_backend.wire import load_message, node_message
from inferno_runtime import logs, rpc
from inferno_runtime.backoff import Backoff
from inferno_runtime.clock import Clock
from inferno_runtime.errors import AlreadyExists, Fenced, InfernoError, InvalidInput, Unavailable, Unsupported
from inferno_runtime.latest import Latest

_LOG = logs.get("registration")
_FIRST_ANSWER_SECONDS = 5.0
_DEFAULT_LEASE = 3.0
# An earlier life of this node may hold its name until its lease ends.
_NAME_TAKEN_SECONDS = 15.0
# A mesh that starts with its nodes takes about this long until its proxy answers: no reason for a warning.
_PATIENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A model the mesh wants loaded or unloaded; ``generation`` grows with each such wish."""

    model: str
    loaded: bool
    generation: int


@dataclass(frozen=True, slots=True)
class ProxyView:
    """What one proxy has said; the last word stays when the connection is lost."""

    connected: bool = False
    applied_revision: int = 0
    drain: bool = False
    wishes: tuple[Wish, ...] = ()


class Registrar:
    """Keeps the node registered with one proxy."""

    def __init__(
        self,
        proxy: str,
        identity: Identity,
        states: Latest[Revised],
        load: Callable[[], tuple[ModelLoad, ...] | None],
        clock: Clock,
        links: Latest[Link | None],
    ) -> None:
        self.proxy = proxy
        self.view = Latest(ProxyView())
        self._identity = identity
        self._states = states
        self._load = load
        self._clock = clock
        self._links = links
        self._backoff = Backoff(0.1, 2.0)
        self._lease = _DEFAULT_LEASE
        self._accepted = False
        self._began = clock.monotonic()
        self._told = ""
        self._leaving = False
        self._channel: grpc.aio.Channel | None = None
        self._goodbye = asyncio.Lock()

    async def run(self) -> None:
        """Stay registered until cancelled.

        Raises:
            Fenced: A newer life of this node has taken over.
            InfernoError: The proxy has never accepted this node and never will.
        """
        await self._states.wait_for(lambda revised: revised.revision > 0)
        self._began = self._clock.monotonic()
        while not self._leaving:
            link = await joined(self._links)
            # One channel for all attempts: streams on ever new channels leak (grpc/grpc #38499).
            async with link.channel(self.proxy) as channel:
                self._channel = channel
                await self._stay(link, registration_service_pb2_grpc.RegistrationServiceStub(channel))
                async with self._goodbye:
                    self._channel = None

    async def _stay(self, link: Link, stub: Any) -> None:
        """Stay registered until the node leaves, or is to be reached by another link."""
        while self._links.value == link:
            try:
                await self._register(link, stub)
                error: InfernoError = Unavailable(f"{self._name} ended the stream.", reason="STREAM_ENDED")
            except InfernoError as failed:
                error = failed
            if self._links.value != link:
                return  # The lease holds for longer than it takes to come back.
            self.view.set(replace(self.view.value, connected=False))
            if self._leaving:
                return
            if self._final(error):
                raise error
            self._tell(error)
            await self._clock.sleep(self._backoff.next())

    async def deregister(self, timeout: float) -> None:
        """Say goodbye, and nothing after it; a proxy that cannot be reached learns it from the lease's end."""
        self._leaving = True
        # The proxy ends the stream when it hears the goodbye: the channel stays until that is answered.
        async with self._goodbye:
            if self._channel is None or not self.view.value.connected:
                return
            stub: Any = registration_service_pb2_grpc.RegistrationServiceStub(self._channel)
            request = registration_service_pb2.DeregisterRequest(
                node_id=self._identity.node_id, incarnation=self._identity.incarnation
            )
            try:
                await stub.Deregister(request, timeout=timeout)
            except grpc.aio.AioRpcError as failed:
                _LOG.warning("no goodbye", proxy=self.proxy, error=rpc.error_from_rpc(failed, self._name).message)

    @property
    def _name(self) -> str:
        return f"the proxy at {self.proxy}"

    def _final(self, error: InfernoError) -> bool:
        if isinstance(error, Fenced):
            return True
        if isinstance(error, AlreadyExists):
            return not self._accepted and self._clock.monotonic() - self._began > _NAME_TAKEN_SECONDS
        return not error.temporary and not self._accepted

    def _tell(self, error: InfernoError) -> None:
        """One line for each new reason, not one for each attempt, and none while a mesh is still starting."""
        starting = not self._accepted and self._clock.monotonic() - self._began < _PATIENT_SECONDS
        if self._told == error.reason or (starting and error.temporary):
            _LOG.debug("not registered", proxy=self.proxy, error=error.message)
            return
        self._told = error.reason
        _LOG.warning("not registered: trying again until it is", proxy=self.proxy, error=error.sentence())

    async def _register(self, link: Link, stub: Any) -> None:
        """Hold one stream until it ends, or there is another link."""
        call = stub.Register()
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write(call))
                reading = group.create_task(self._read(call))
                renewed = group.create_task(self._links.wait_for(lambda now: now != link))
                await asyncio.wait([reading, renewed], return_when=asyncio.FIRST_COMPLETED)
                failed = reading.result() if reading.done() else None
                for each in (writing, reading, renewed):
                    each.cancel()
        finally:
            call.cancel()
        if failed is not None:
            raise failed

    async def _read(self, call: Any) -> InfernoError | None:
        """Take what the proxy says until it says no more; return why."""
        try:
            async with asyncio.timeout(_FIRST_ANSWER_SECONDS) as limit:
                async for response in call:
                    limit.reschedule(None)
                    self._take(response)
        except grpc.aio.AioRpcError as error:
            failed = rpc.error_from_rpc(error, self._name)
            if isinstance(failed, Unsupported):
                return InvalidInput(
                    f"What answers at {self.proxy} is no proxy: it takes no registrations.",
                    reason="NOT_A_PROXY",
                    fix="Give --discovery-lb the address of a proxy's public port, or of its mesh port to a member.",
                )
            return failed
        except TimeoutError:
            return Unavailable(f"{self._name} does not answer.", reason="NO_ANSWER")
        return None

    def _take(self, response: registration_service_pb2.RegisterResponse) -> None:
        self._lease = response.lease_duration.ToMilliseconds() / 1000 or _DEFAULT_LEASE
        if not self.view.value.connected:
            _LOG.info("registered", proxy=self.proxy, node=self._identity.node_id)
        self._accepted, self._told = True, ""
        self._backoff.reset()
        self.view.set(
            ProxyView(
                connected=True,
                applied_revision=response.applied_revision,
                drain=response.desired_phase == registration_service_pb2.DESIRED_PHASE_DRAIN,
                wishes=tuple(Wish(one.model, one.loaded, one.generation) for one in response.desired_models),
            )
        )

    async def _write(self, call: Any) -> None:
        """Send the node, each change of it at once, and a heartbeat at a third of the lease."""
        sent = 0
        try:
            while not self._leaving:
                revised, load = self._states.value, self._load_message()
                request = registration_service_pb2.RegisterRequest(load=load)
                if revised.revision > sent:
                    request.node.CopyFrom(node_message(self._identity, revised.state))
                    request.revision = sent = revised.revision
                await call.write(request)
                await self._next(sent)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # The stream has ended; the reader knows why.

    async def _next(self, sent: int) -> None:
        try:
            async with asyncio.timeout(self._lease / 3):
                await self._states.wait_for(lambda revised: revised.revision > sent)
        except TimeoutError:
            return  # Nothing changed: a heartbeat is due.

    def _load_message(self) -> node_pb2.Load | None:
        load = self._load()
        return None if load is None else load_message(load)
