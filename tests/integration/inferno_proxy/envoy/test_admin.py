from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inferno_proxy.envoy import admin
from inferno_runtime.errors import Unavailable


async def test_nobody_there_is_an_unavailable_envoy(socket_dir: Path) -> None:
    path = socket_dir / "nobody.sock"
    with pytest.raises(Unavailable, match="does not answer"):
        await admin.call(path, "/ready")
    assert not await admin.serves(path)
    assert await admin.active_model_calls(path) == 0


@pytest.mark.parametrize("reply", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nzz\r\n"])
async def test_an_answer_that_is_none_is_an_unavailable_envoy(socket_dir: Path, reply: bytes) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()

    path = socket_dir / "odd.sock"
    async with await asyncio.start_unix_server(answer, str(path)):
        with pytest.raises(Unavailable):
            await admin.call(path, "/ready")


async def test_an_envoy_that_says_nothing_is_waited_for_no_longer_than_asked(socket_dir: Path) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    path = socket_dir / "silent.sock"
    async with await asyncio.start_unix_server(silence, str(path)):
        with pytest.raises(Unavailable):
            await admin.call(path, "/ready", within=0.05)
