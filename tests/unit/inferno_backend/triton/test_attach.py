"""Where an attached Triton's other ports are."""

from __future__ import annotations

import asyncio

from inferno_backend.node import Endpoints
from inferno_backend.triton.attach import Usual, endpoints
from inferno_runtime.process import free_port


async def test_the_usual_neighbours_are_taken_when_they_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        http = server.sockets[0].getsockname()[1]
        usual = Usual(http=http, grpc=1, metrics=free_port())
        assert await endpoints("127.0.0.1:1", usual=usual) == Endpoints("127.0.0.1:1", f"127.0.0.1:{http}")


async def test_an_unusual_port_says_nothing_of_its_neighbours() -> None:
    assert await endpoints("[::1]:7") == Endpoints("[::1]:7")


async def test_what_is_given_is_taken_unseen() -> None:
    assert await endpoints("[::1]:8001", "h:1", "h:2") == Endpoints("[::1]:8001", "h:1", "h:2")
