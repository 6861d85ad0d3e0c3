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


TOKENS = """
nv_inference_count{model="python",version="1"} 1
inferno_input_tokens_total{instance="0",model="python",version="1"} 10
inferno_input_tokens_total{instance="1",model="python",version="1"} 5
inferno_output_tokens_total{model="python",version="1"} 20
nv_inference_count{model="vllm",version="1"} 1
vllm:prompt_tokens_total{model="vllm",version="1"} 30
vllm:generation_tokens_total{model="vllm",version="1"} 40
nv_inference_count{model="trt",version="2"} 1
nv_llm_input_token_len_bucket{model="trt",response_metric_type="total_input_tokens",version="2",le="10"} 1
nv_llm_input_token_len_sum{model="trt",response_metric_type="total_input_tokens",version="2"} 50
nv_llm_output_token_len_sum{model="trt",response_metric_type="total_output_tokens",version="2"} 60
"""


def test_tokens_are_read_under_every_name_that_backends_give_them() -> None:
    found = {model: (each.input_tokens, each.output_tokens) for (model, _), each in parse(TOKENS).items()}
    assert found == {"python": (15, 20), "vllm": (30, 40), "trt": (50, 60)}


@pytest.mark.parametrize("value", ["-3", "1e300", "Nan", "+Inf"])
def test_what_cannot_be_a_count_of_tokens_is_left_out(value: str) -> None:
    page = (
        f'nv_inference_count{{model="m",version="1"}} 1\ninferno_output_tokens_total{{model="m",version="1"}} {value}'
    )
    assert parse(page) == {("m", "1"): Counters(inferences=1)}


def test_tokens_of_a_model_that_triton_does_not_have_are_left_out() -> None:
    assert parse('inferno_output_tokens_total{model="made up",version="1"} 7') == {}


counters = st.builds(Counters, *[st.integers(0, 10**9)] * 10)


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
