"""Streams that end when the control plane does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from inferno_proxy.services.closing import Closing
from inferno_runtime.errors import Unavailable
from inferno_runtime.latest import Latest
from tests.waiting import eventually


async def test_a_stream_goes_on_until_closing_begins() -> None:
    closing, latest = Closing(), Latest(1)
    stream = closing.during(latest.watch())
    assert await anext(stream) == 1
    latest.set(2)
    assert await anext(stream) == 2
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    closing.begin()
    closing.begin()
    with pytest.raises(Unavailable, match="stops"):
        await waiting


async def test_a_stream_ends_when_its_source_does() -> None:
    async def short() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert [each async for each in Closing().during(short())] == [1, 2]


async def test_a_stream_that_fails_hands_its_failure_on() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise LookupError("gone")

    stream = Closing().during(broken())
    assert await anext(stream) == 1
    with pytest.raises(LookupError):
        await anext(stream)


async def test_a_stream_that_nobody_reads_any_more_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    stream = Closing().during(Latest(1).watch())
    await anext(stream)
    await stream.aclose()
    await eventually(lambda: asyncio.all_tasks() == before, 1, "no task is left")
