"""Triton's metrics page as counters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_backend.triton.metrics_page import Counters, fetch, parse
from inferno_runtime.errors import Unavailable

PAGE = """
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="iden\\"tity",version="1"} 7
nv_inference_request_failure{model="m",reason="OTHER",version="1"} 1
nv_inference_request_failure{model="m",reason="BACKEND",version="1"} 2
nv_inference_count{model="m",version="1"} 30
nv_inference_exec_count{model="m",version="1"} 1.2e+06
nv_inference_request_duration_us{model="m",version="1"} 100
nv_inference_queue_duration_us{model="m",version="1"} 40
nv_inference_compute_input_duration_us{model="m",version="1"} 1
nv_inference_compute_infer_duration_us{model="m",version="1"} 2
nv_inference_compute_output_duration_us{model="m",version="1"} 3
nv_inference_pending_request_count{gpu_uuid="GPU-1",model="m",version="1"} 4
nv_inference_pending_request_count{gpu_uuid="GPU-2",model="m",version="1"} 5
nv_inference_request_summary_us{model="m",version="1",quantile="0.5"} Nan
nv_cpu_utilization 0.5
"""


def test_every_counter_is_read_and_a_versions_lines_are_added_up() -> None:
    found = parse(PAGE)
    assert found["m", "1"] == Counters(
        failure=3,
        inferences=30,
        executions=1_200_000,
        request_micros=100,
        queue_micros=40,
        compute_micros=6,
        pending=9,
    )
    assert found['iden\\"tity', "1"] == Counters(success=7)


counters = st.builds(Counters, *[st.integers(0, 10**9)] * 8)


@given(counters, counters)
def test_work_since_is_never_negative_and_adds_up_without_a_restart(earlier: Counters, done: Counters) -> None:
    now = earlier + done
    assert now.since(earlier).values()[:-1] == done.values()[:-1]
    assert now.since(earlier).pending == now.pending
    assert min(earlier.since(now).values()) >= 0


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_page_is_fetched() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello") as address:
        assert await fetch(address, 5) == "hello"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\n\r\n", b""])
async def test_anything_but_200_is_no_page(answer: bytes) -> None:
    async with answering(answer) as address:
        with pytest.raises(Unavailable, match="answered"):
            await fetch(address, 5)


async def test_nobody_there_is_no_page() -> None:
    async with answering(b"") as address:
        pass
    with pytest.raises(Unavailable, match="does not answer"):
        await fetch(address, 5)
