"""One xDS stream: requests in, answers out, one writer, and at most one answer of a type in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import grpc

from inferno_proxy.publishing.snapshot import Dialect, ResourceType, Snapshot
from inferno_proxy.resources.elsewhere import Elsewhere
from inferno_proxy.xds import delta, order, sotw, wire
from inferno_proxy.xds.clients import ClientTable, SyncState, TypeStatus
from inferno_proxy.xds.order import Answer, Bounds, OfferRule, Session, World
from inferno_proxy.xds.subscription import Caller, Named, Reply, Subscription
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InvalidInput
from inferno_runtime.latest import Latest

_LOG = logs.get("xds")
_MOST_TYPES = 32
_SHORT = {kind.value: kind.short for kind in ResourceType}


class Taken(Protocol):
    """What a stream needs of a request, whichever protocol it belongs to."""

    @property
    def type(self) -> str:
        """Type URL."""
        ...

    @property
    def caller(self) -> Caller | None:
        """The client, on the first request."""
        ...

    @property
    def error(self) -> str | None:
        """Why it refuses the last answer."""
        ...


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the protocol's two variants: how to read a request into a subscription, make an offer and write it."""

    name: str
    take: Callable[[bytes, Mapping[str, Subscription]], tuple[Taken, Subscription, Reply]]
    offer: OfferRule
    encode: Callable[[Answer], bytes]


def _take_sotw(raw: bytes, known: Mapping[str, Subscription]) -> tuple[Taken, Subscription, Reply]:
    request = wire.parse_request(raw)
    return (request, *sotw.receive(known.get(request.type), request))


def _take_delta(raw: bytes, known: Mapping[str, Subscription]) -> tuple[Taken, Subscription, Reply]:
    request = wire.parse_delta_request(raw)
    return (request, *delta.receive(known.get(request.type), request))


SOTW = Variant("sotw", _take_sotw, sotw.offer, wire.response)
DELTA = Variant("delta", _take_delta, delta.offer, wire.delta_response)


def dialect_of(user_agent: str) -> Dialect:
    """Which snapshot a client can use, by its name for itself: gRPC libraries say "gRPC C-core ...", "gRPC Java" and so
    on, an Envoy says "envoy"; anything else is served as an Envoy."""
    return Dialect.GRPC if user_agent.lower().startswith("grpc") else Dialect.ENVOY


class Stream:
    """One client's stream. Requests change its session at once; :meth:`answers` is its only writer.

    Nothing is queued: a snapshot that arrives while the client is busy replaces the one it has not been sent. ``admit``
    is asked, with the client's node id and dialect, before the client counts as one; what it raises ends the stream.
    """

    def __init__(
        self,
        variant: Variant,
        snapshots: Latest[Mapping[Dialect, Snapshot]],
        clients: ClientTable,
        clock: Clock,
        *,
        admit: Callable[[str, Dialect], None],
        bounds: Bounds,
        version: Callable[[Named], str],
    ) -> None:
        self._variant = variant
        self._snapshots = snapshots
        self._clients = clients
        self._clock = clock
        self._admit = admit
        self._bounds = bounds
        self._version = version
        self._session: Session | None = None
        self._number = 0  # of this stream in the table of clients, which counts from 1
        self._client_id = ""
        self._elsewhere: Elsewhere | None = None
        self._awake = asyncio.Event()
        self._over = False
        self._failure: Exception | None = None
        self._pushed: dict[str, float] = {}

    def wake(self) -> None:
        """Look for something to send."""
        self._awake.set()

    def close(self) -> None:
        """End the stream and forget its client's place; closing twice changes nothing."""
        self._over = True
        self._awake.set()
        if self._number:
            self._clients.disconnected(self._number)
            self._number = 0

    async def read(self, requests: AsyncIterator[bytes]) -> None:
        """Take requests in until they end or one is wrong; the stream ends with them."""
        try:
            async for raw in requests:
                self._receive(raw)
                self.wake()
        except grpc.aio.UsageError:
            _LOG.debug("call ended while a request was awaited", client_id=self._client_id)
        except Exception as error:  # noqa: BLE001 - raised again by answers(), whose caller turns it into a status
            self._failure = error
        finally:
            self.close()

    async def answers(self) -> AsyncIterator[bytes]:
        """Yield each answer, encoded, until the stream is over.

        Raises:
            InvalidInput: The client sent something that is no discovery request.
            InfernoError: The client is not let in.
        """
        while not self._over:
            self._awake.clear()
            result = self._step()
            if result is not None and result.answer is not None:
                self._count_push(result.session.dialect, result.answer.type)
                yield self._variant.encode(result.answer)
                continue
            await self._wait(None if result is None else result.look_again)
        if self._failure is not None:
            raise self._failure

    async def _wait(self, until: float | None) -> None:
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - self._clock.monotonic())):
                await self._awake.wait()
        except TimeoutError:
            return

    def _step(self) -> order.Step | None:
        session = self._session
        if session is None or session.dialect not in self._snapshots.value:
            return None
        snapshot = self._snapshots.value[session.dialect]
        if self._elsewhere is not None:
            snapshot = self._elsewhere.seen(snapshot)
        world = World(snapshot, self._clock.monotonic(), self._variant.offer, self._bounds, self._version)
        result = order.step(session, world)
        self._session = result.session
        self._note(result.session, snapshot.serial)
        return result

    def _receive(self, raw: bytes) -> None:
        known = self._session.subscriptions if self._session else {}
        request, sub, reply = self._variant.take(raw, known)
        if self._session is None:
            self._session = self._begin(request)
        if len(known) >= _MOST_TYPES and sub.type not in known:
            raise InvalidInput(
                f"One stream asks for more than {_MOST_TYPES} types of resources.",
                reason="TOO_MANY_TYPES",
                fix="Ask for clusters, endpoints, listeners and routes.",
            )
        self._session = self._session.holding(sub)
        self._count_reply(self._session.dialect, sub.type, reply)
        if reply is Reply.NACK:
            _LOG.warning("refused", client_id=self._client_id, type=sub.type, reason=request.error)

    def _count_push(self, dialect: Dialect, url: str) -> None:
        self._pushed[url] = self._clock.monotonic()
        self._clients.tally.pushed(dialect, _SHORT.get(url))

    def _count_reply(self, dialect: Dialect, url: str, reply: Reply) -> None:
        since = None if reply is Reply.NONE else self._pushed.pop(url, None)
        if since is not None:
            took = self._clock.monotonic() - since
            self._clients.tally.answered(dialect, _SHORT.get(url), took, refused=reply is Reply.NACK)

    def _begin(self, request: Taken) -> Session:
        caller = request.caller
        if caller is None or not caller.client_id:
            raise InvalidInput(
                "The first request of the stream does not say which client it comes from.",
                reason="NO_NODE_ID",
                fix="Set node.id in the client's bootstrap.",
            )
        dialect = dialect_of(caller.user_agent)
        self._admit(caller.client_id, dialect)
        self._elsewhere = Elsewhere.told(caller.metadata) if dialect is Dialect.ENVOY else None
        self._client_id = caller.client_id
        self._number = self._clients.connected(caller.client_id, dialect, caller.user_agent)
        return Session(dialect)

    def _note(self, session: Session, serial: int) -> None:
        types = {url: _status(sub, serial) for url, sub in session.subscriptions.items()}
        self._clients.update(self._number, types, session.applied)


def _status(sub: Subscription, serial: int) -> TypeStatus:
    if sub.refused:
        return TypeStatus(SyncState.NACKED, sub.accepted, sub.refusal)
    if sub.carried is not None or sub.answered < serial:
        return TypeStatus(SyncState.PENDING, sub.accepted)
    return TypeStatus(SyncState.SYNCED if sub.nonce or sub.told else SyncState.UNKNOWN, sub.accepted)
