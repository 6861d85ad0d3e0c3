"""The data planes that take configuration from here: what each was sent, what it said to that, and how far all are.

:func:`judge` decides from values alone; :class:`ClientTable` holds the values and calls it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from inferno_proxy.publishing.snapshot import Dialect
from inferno_proxy.xds.tally import Tally
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest


class SyncState(StrEnum):
    """Whether a client runs what it was sent; mirrors ``inferno.mesh.v1.SyncState``."""

    UNKNOWN = "unknown"
    SYNCED = "synced"
    PENDING = "pending"
    NACKED = "nacked"


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """One resource type at one client. ``version`` is the last one it accepted, ``reason`` its words when NACKED."""

    state: SyncState
    version: str = ""
    reason: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Client:
    """One xDS stream of one client.

    ``types`` is keyed by type URL. ``applied`` is the greatest snapshot serial the client has answered for every type
    it subscribes to; a refusal is an answer. ``connected`` is Unix time; ``behind_since`` (monotonic seconds) is when
    it last made progress while a newer snapshot waited for it, None when it is up to date. ``left_at`` is when its
    stream ended; a client that left is remembered for a moment, because a data plane lives on without its stream.
    """

    stream: int
    client_id: str
    dialect: Dialect
    user_agent: str
    connected: float
    types: Mapping[str, TypeStatus]
    applied: int = 0
    behind_since: float | None = None
    left_at: float | None = None
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """Something an operator wants to know about a client.

    ``kind``: CLIENT_CONNECTED, CLIENT_DISCONNECTED, CLIENT_REFUSED, CLIENT_HANGS, CLIENT_CAUGHT_UP.
    """

    kind: str
    client_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """``applied``: what all that count have answered. ``hanging``: streams to leave out. ``forgotten``: streams whose
    client left long ago. ``look_again``: when time alone changes the judgement (monotonic seconds), or None."""

    applied: int
    hanging: frozenset[int]
    forgotten: frozenset[int]
    look_again: float | None


def judge(clients: Iterable[Client], published: int, now: float, patience: float) -> Judgement:
    """How far every client is, without those that have been behind, or gone, for ``patience`` seconds.

    With no client left to wait for, everything published is applied.
    """
    applied, look_again = published, None
    hanging: set[int] = set()
    forgotten: set[int] = set()
    for client in clients:
        since = client.behind_since if client.left_at is None else client.left_at
        if since is None:
            continue
        deadline = since + patience
        if deadline <= now:
            (hanging if client.left_at is None else forgotten).add(client.stream)
            continue
        applied = min(applied, client.applied)
        look_again = deadline if look_again is None else min(look_again, deadline)
    return Judgement(applied, frozenset(hanging), frozenset(forgotten), look_again)


class ClientTable:
    """Every connected client, and how far they all are.

    ``changes`` counts what happened to clients and what they said. ``applied`` is the greatest snapshot serial that
    every client has answered; it never goes back, because a client that connects later is sent nothing older. A client
    that stays behind for ``patience`` seconds is left out until it
    catches up, so a hung one cannot hold up the mesh; ``report`` is told. For ``patience`` seconds after the start the
    table assumes that clients of an earlier life of this control plane are still on their way. ``tally`` counts what
    their streams send and hear.
    """

    def __init__(
        self, clock: Clock, *, patience: float = 2.0, report: Callable[[ClientEvent], None] | None = None
    ) -> None:
        self.applied: Latest[int] = Latest(0)
        self.tally = Tally()
        self.changes: Latest[int] = Latest(0)
        self._clock = clock
        self._patience = patience
        self._report = report or (lambda _: None)
        self._published = 0
        self._streams = itertools.count(1)
        earlier = Client(0, "", Dialect.ENVOY, "", clock.wall(), {}, left_at=clock.monotonic())
        self._clients: dict[int, Client] = {0: earlier}
        self._touched = asyncio.Event()

    @property
    def clients(self) -> tuple[Client, ...]:
        """The clients connected now, by id and then by age of their stream."""
        here = (c for c in self._clients.values() if c.left_at is None)
        return tuple(sorted(here, key=lambda c: (c.client_id, c.stream)))

    def published(self, serial: int) -> None:
        """Tell of a new snapshot, before any stream can see it."""
        self._published = serial
        now = self._clock.monotonic()
        for stream, client in self._clients.items():
            if client.behind_since is None and client.left_at is None:
                self._clients[stream] = replace(client, behind_since=now)
        self._touched.set()

    def connected(self, client_id: str, dialect: Dialect, user_agent: str) -> int:
        """Enter a client and return the number of its stream."""
        for stream, client in tuple(self._clients.items()):
            if client.left_at is not None and (client.client_id == client_id or stream == 0):
                del self._clients[stream]
        stream = next(self._streams)
        self._clients[stream] = Client(
            stream, client_id, dialect, user_agent, self._clock.wall(), {}, behind_since=self._clock.monotonic()
        )
        self._changed()
        self._tell("CLIENT_CONNECTED", client_id, f"{user_agent or dialect.value} takes configuration from here.")
        return stream

    def update(self, stream: int, types: Mapping[str, TypeStatus], applied: int) -> None:
        """Replace what is known of a stream; each status carries no time, it is set here when the status changes."""
        before, now = self._clients[stream], self._clock.monotonic()
        dated = {url: self._dated(before.types.get(url), status) for url, status in types.items()}
        for url, status in dated.items():
            if status.state is SyncState.NACKED and status is not before.types.get(url):
                self._tell("CLIENT_REFUSED", before.client_id, f"It refused {url.rpartition('.')[2]}: {status.reason}")
        behind: float | None = None
        if applied < self._published:
            behind = now if applied > before.applied or before.behind_since is None else before.behind_since
        elif before.left_out:
            self._tell("CLIENT_CAUGHT_UP", before.client_id, "It answers again and counts again.")
        left_out = before.left_out and behind is not None
        self._clients[stream] = replace(before, types=dated, applied=applied, behind_since=behind, left_out=left_out)
        self._changed()

    def disconnected(self, stream: int) -> None:
        """Mark a stream as ended; ending it twice changes nothing."""
        client = self._clients.get(stream)
        if client is None or client.left_at is not None:
            return
        if any(c.client_id == client.client_id and c.stream != stream for c in self.clients):
            # It has a newer stream already, as when an Envoy is replaced.
            del self._clients[stream]
        else:
            self._clients[stream] = replace(client, left_at=self._clock.monotonic())
        self._changed()
        self._tell("CLIENT_DISCONNECTED", client.client_id, "Its stream ended; it keeps the configuration it has.")

    async def run(self) -> None:
        """Keep ``applied`` true, until cancelled. The ADS service runs this for the table it is given."""
        while True:
            self._touched.clear()
            verdict = judge(self._clients.values(), self._published, self._clock.monotonic(), self._patience)
            self._carry_out(verdict)
            if verdict.look_again is None:
                await self._touched.wait()
            else:
                await self._touched_within(verdict.look_again - self._clock.monotonic())

    def _changed(self) -> None:
        self.changes.set(self.changes.value + 1)
        self._touched.set()

    async def _touched_within(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self._clock.sleep(seconds))
            timer.add_done_callback(lambda _: self._touched.set())
            await self._touched.wait()
            timer.cancel()

    def _carry_out(self, verdict: Judgement) -> None:
        for stream in verdict.forgotten:
            del self._clients[stream]
        for stream in verdict.hanging:
            client = self._clients[stream]
            if not client.left_out:
                self._clients[stream] = replace(client, left_out=True)
                self._tell(
                    "CLIENT_HANGS",
                    client.client_id,
                    f"It has not answered snapshot {client.applied + 1} or later for {self._patience:g} s; "
                    "the mesh no longer waits for it.",
                )
        if verdict.applied > self.applied.value:
            self.applied.set(verdict.applied)

    def _dated(self, before: TypeStatus | None, status: TypeStatus) -> TypeStatus:
        if before is not None and replace(before, since=0.0) == status:
            return before
        return replace(status, since=self._clock.wall())

    def _tell(self, kind: str, client_id: str, message: str) -> None:
        self._report(ClientEvent(kind, client_id, message))
