"""The proxy that breaks connections for the fault table, on real sockets."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.fault_proxy import FAIR, RETRANSMISSION, FaultProxy, Passing, Weather, fault_proxy
from tests.waiting import eventually

Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echoed() -> AsyncIterator[tuple[FaultProxy, Side]]:
    """A proxy in front of a server that echoes, and a client connected to it that has been answered once."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        async with fault_proxy(f"{host}:{port}", mark=b"hello") as proxy:
            reader, writer = await connected(proxy)
            assert await answer(reader, writer, b"hello") == b"hello"
            yield proxy, (reader, writer)
            writer.close()
            await eventually(lambda: proxy.open == 0, 5, "the proxy has let go of every connection")


async def connected(proxy: FaultProxy) -> Side:
    host, _, port = proxy.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    writer.write(data)
    async with asyncio.timeout(60):
        return await reader.readexactly(len(data))


async def silent(reader: asyncio.StreamReader) -> bool:
    """True when neither a byte nor an end comes for a while."""
    try:
        async with asyncio.timeout(0.2):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_a_fair_proxy_carries_every_byte_and_the_end() -> None:
    data = random.Random(1).randbytes(1_000_000)
    async with echoed() as (_, (reader, writer)):
        assert await answer(reader, writer, data) == data
        writer.write_eof()
        assert await reader.read() == b""


async def test_bytes_in_small_pieces_are_the_same_bytes() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.become(Weather(piece=7))
        data = bytes(range(256)) * 20
        assert await answer(reader, writer, data) == data


async def test_what_is_late_is_late_by_as_much_in_each_direction() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.become(Weather(latency=0.1))
        took: list[float] = []
        # Several segments on the way at a time: being late is not being slow. Once must be enough on a busy machine.
        while not took or (min(took) > 1 and len(took) < 10):
            since = time.monotonic()
            data = bytes(20_000)
            assert await answer(reader, writer, data) == data
            took.append(time.monotonic() - since)
        assert 0.2 <= min(took) < 1


async def test_a_lost_segment_comes_again_and_those_behind_it_wait() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.become(Weather(loss=0.2))
        data = random.Random(2).randbytes(20_000)
        since = time.monotonic()
        assert await answer(reader, writer, data) == data
        assert time.monotonic() - since >= RETRANSMISSION


def test_each_further_loss_of_one_segment_doubles_its_delay() -> None:
    class Lost(random.Random):
        """Loses three times, then no more."""

        rolls = iter((0.0, 0.0, 0.0, 0.0, 1.0))

        def random(self) -> float:
            return next(self.rolls)

    assert Weather(loss=0.1).delay(Lost()) == pytest.approx(7 * RETRANSMISSION)


async def test_a_half_open_connection_swallows_bytes_and_tells_no_end() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.become(Weather(passing=Passing.SWALLOWED))
        writer.write(b"lost")
        assert await silent(reader)
        fresh_reader, fresh = await connected(proxy)
        fresh.write(b"lost as well")
        fresh.write_eof()
        assert await silent(fresh_reader)
        proxy.become(FAIR)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionResetError):
            await fresh_reader.read()
        fresh.close()
        again_reader, again = await connected(proxy)
        assert await answer(again_reader, again, b"again") == b"again"
        again.close()


async def test_what_was_on_its_way_is_swallowed_too() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.become(Weather(latency=0.1))
        writer.write(b"lost")
        await writer.drain()
        proxy.become(Weather(passing=Passing.SWALLOWED))
        assert await silent(reader)
        proxy.become(FAIR)


async def test_a_stalled_connection_goes_on_where_it_stopped() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.become(Weather(passing=Passing.STALLED))
        # One read may be under way already: the second of two writes is the one that stalls.
        assert await answer(reader, writer, b"1") == b"1"
        writer.write(b"2")
        assert await silent(reader)
        proxy.become(FAIR)
        assert await reader.readexactly(1) == b"2"


async def test_a_reset_breaks_both_sides() -> None:
    async with echoed() as (proxy, (reader, _)):
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_after_a_half_close_the_client_may_still_send() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.half_close()
        assert await reader.read() == b""
        writer.write(b"more")
        await writer.drain()
        assert proxy.open == 1
        writer.write_eof()


async def test_a_server_that_refuses_is_told_by_a_reset() -> None:
    async with fault_proxy("127.0.0.1:1") as proxy:
        reader, writer = await connected(proxy)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        assert proxy.accepted == 1


async def test_requests_are_counted_when_they_arrive_and_answers_are_not() -> None:
    async with echoed() as (proxy, (reader, writer)):
        proxy.become(Weather(passing=Passing.SWALLOWED))
        writer.write(b"hello, hello")
        assert await silent(reader)
        assert len(proxy.marked) == 3
        assert proxy.marked == sorted(proxy.marked)
        proxy.become(FAIR)
