"""A TCP proxy that misbehaves as it is told while it runs: what a broken network does to one connection or to all.

It stands between a data plane and one model server, or between a client and Envoy. Segments are what one read brings,
cut to the size of a packet. The kernel on both sides still acknowledges every segment: what is lost here is lost for
the program, so loss is emulated as what a sender makes of it, the same bytes one or more retransmission times later.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

_SEGMENT = 1460
_READ = 64 * 1024
_BUFFERED = 1024
# Segments with the moments they are due at (the loop's seconds); an empty one is the end.
Late = asyncio.Queue[tuple[float, bytes]]
# Linux waits this long at least before it sends a segment again (TCP_RTO_MIN), and twice as long each further time.
RETRANSMISSION = 0.2


class Passing(StrEnum):
    """What happens to bytes that arrive."""

    ON = "on"
    """They go on to the other side."""
    SWALLOWED = "swallowed"
    """They are taken and go nowhere, and no end of a connection is told: a half-open connection."""
    STALLED = "stalled"
    """Nobody reads them: the sender's window closes."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How the proxy behaves now, in both directions.

    Args:
        passing: What happens to bytes; new connections are accepted whatever it is.
        latency: Seconds each segment is late.
        jitter: Seconds that it may be later still, evenly spread.
        loss: Share of the segments that are lost and sent again :data:`RETRANSMISSION` seconds later, or twice that if
            lost again, and so on; those behind them wait, as TCP makes them.
        piece: Bytes of one write; 0 for whole segments.
    """

    passing: Passing = Passing.ON
    latency: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    piece: int = 0

    def delay(self, chance: random.Random) -> float:
        """Seconds that one segment takes."""
        seconds = self.latency + self.jitter * chance.random()
        again = RETRANSMISSION
        while self.loss and chance.random() < self.loss:
            seconds += again
            again *= 2
        return seconds


FAIR = Weather()


class FaultProxy:
    """Relays connections to ``host:port``. ``address`` is its own; ``seed`` makes its chances repeatable.

    ``marked`` are the moments (CLOCK_MONOTONIC) at which a client sent ``mark``, bytes that stand once in each request;
    it counts what arrived here, whether or not it was passed on.
    """

    def __init__(self, host: str, port: int, *, mark: bytes = b"", seed: int = 1) -> None:
        self.address = ""
        self.accepted = 0
        self.marked: list[float] = []
        self._mark = mark
        self._target = (host, port)
        self._chance = random.Random(seed)  # noqa: S311 - weather, not secrets
        self._weather = FAIR
        self._changed = asyncio.Event()
        self._links: dict[asyncio.Task[None], _Link] = {}

    @property
    def weather(self) -> Weather:
        """How it behaves now."""
        return self._weather

    @property
    def open(self) -> int:
        """Connections it holds."""
        return len(self._links)

    def become(self, weather: Weather) -> None:
        """Behave in another way from the next segment on.

        A connection of which bytes were swallowed is of no more use: it is reset when bytes go on again.
        """
        self._weather = weather
        if weather.passing is Passing.ON:
            for task, link in self._links.items():
                if link.swallowed:
                    link.reset()
                    task.cancel()
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self) -> None:
        """Break every connection with a RST to both sides."""
        for task, link in self._links.items():
            link.reset()
            task.cancel()

    def half_close(self) -> None:
        """Tell every client that the server has sent its last byte, and go on taking what the client sends."""
        for link in self._links.values():
            link.half_close()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection, in a task of its own, until either side has ended it."""
        self.accepted += 1
        link = _Link(self, writer)
        task = asyncio.create_task(link.run(reader, self._target))
        self._links[task] = link
        task.add_done_callback(self._links.pop)

    async def close(self) -> None:
        """End every connection and wait for them."""
        tasks = list(self._links)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reading(self) -> None:
        """Wait while nobody is to read."""
        while self._weather.passing is Passing.STALLED:
            await self._changed.wait()

    def note(self, data: bytes) -> None:
        """Count the requests in what a client sent."""
        if self._mark:
            self.marked += [time.monotonic()] * data.count(self._mark)

    def lateness(self) -> float:
        """Seconds that the next segment takes."""
        return self._weather.delay(self._chance)


class _Link:
    """One connection: its client's side, and the server's side once it is dialled."""

    def __init__(self, proxy: FaultProxy, client: asyncio.StreamWriter) -> None:
        self.swallowed = False
        self._proxy = proxy
        self._writers = [client]
        self._ended: asyncio.StreamWriter | None = None

    async def run(self, reader: asyncio.StreamReader, target: tuple[str, int]) -> None:
        """Relay until both directions have ended or one of them broke."""
        try:
            server, writer = await asyncio.open_connection(*target)
            self._writers.append(writer)
            async with asyncio.TaskGroup() as group:
                for source, sink, asked in ((reader, writer, True), (server, self._writers[0], False)):
                    late: Late = asyncio.Queue(_BUFFERED)
                    group.create_task(self._collect(source, late, asked=asked))
                    group.create_task(self._deliver(late, sink))
        except* OSError:
            self.reset()  # a side that is refused or broken off is no secret to the other
        finally:
            for writer in self._writers:
                writer.close()

    def reset(self) -> None:
        """Break both sides with a RST."""
        for writer in self._writers:
            # Closing with a linger of zero seconds sends a RST instead of a FIN.
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    def half_close(self) -> None:
        """A FIN to the client alone."""
        with contextlib.suppress(OSError):
            self._ended = self._writers[0]
            self._ended.write_eof()

    async def _collect(self, reader: asyncio.StreamReader, late: Late, *, asked: bool) -> None:
        """Read what arrives, and say when each segment is due: one that is late delays only what is behind it."""
        proxy, loop, due = self._proxy, asyncio.get_running_loop(), 0.0
        while True:
            await proxy.reading()
            data = await reader.read(_READ)
            if asked:
                proxy.note(data)
            if proxy.weather.passing is Passing.SWALLOWED:
                self.swallowed = True
                if not data:
                    await asyncio.Event().wait()  # the end is swallowed as well
                continue
            for at in range(0, len(data), _SEGMENT):
                due = max(due, loop.time() + proxy.lateness())
                await late.put((due, data[at : at + _SEGMENT]))
            if not data:
                await late.put((due, b""))
                return

    async def _deliver(self, late: Late, writer: asyncio.StreamWriter) -> None:
        """Write each segment when it is due, and end that direction after the last."""
        proxy, loop = self._proxy, asyncio.get_running_loop()
        while True:
            due, data = await late.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if proxy.weather.passing is Passing.SWALLOWED:
                self.swallowed = True
                continue
            told = writer is self._ended
            if not data:
                if not told:
                    writer.write_eof()
                return
            piece = proxy.weather.piece or len(data)
            for at in range(0, 0 if told else len(data), piece):
                writer.write(data[at : at + piece])
                await writer.drain()


@asynccontextmanager
async def fault_proxy(target: str, *, mark: bytes = b"", seed: int = 1) -> AsyncIterator[FaultProxy]:
    """A proxy in front of ``host:port``, on a free loopback port."""
    host, _, port = target.rpartition(":")
    proxy = FaultProxy(host, int(port), mark=mark, seed=seed)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    bound = server.sockets[0].getsockname()
    proxy.address = f"{bound[0]}:{bound[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
