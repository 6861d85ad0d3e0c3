"""A connection to a Triton that ends while others ask."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as wire

from inferno_backend.triton.client import TritonClient
from inferno_runtime.errors import Unavailable
from tests.integration.inferno_backend.triton import StandIn, serving


class Slow(StandIn):
    """Loads for as long as it is let."""

    def __init__(self) -> None:
        super().__init__(m="READY")
        self.begun = asyncio.Event()

    async def RepositoryModelLoad(
        self, request: wire.RepositoryModelLoadRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> wire.RepositoryModelLoadResponse:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("never")


async def test_after_the_end_of_its_triton_a_question_is_refused_and_a_probe_unanswered() -> None:
    async with serving(StandIn(m="READY")) as address:
        async with TritonClient(address) as client:
            assert await client.index()
        with pytest.raises(Unavailable, match="has ended"):
            await client.index()
        assert not await client.answers("m", 1)


async def test_what_runs_when_its_triton_ends_is_refused_and_its_caller_goes_on() -> None:
    async with serving(triton := Slow()) as address:
        async with TritonClient(address) as client:
            loading = asyncio.create_task(client.load("m"))
            await triton.begun.wait()
        with pytest.raises(Unavailable, match="has ended"):
            await loading


async def test_a_caller_that_is_cancelled_is_cancelled() -> None:
    async with serving(triton := Slow()) as address, TritonClient(address) as client:
        loading = asyncio.create_task(client.load("m"))
        await triton.begun.wait()
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
