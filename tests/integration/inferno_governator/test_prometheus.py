"""Telemetry of a fleet that a real Prometheus scrapes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from inferno_governator.store.address import parse_database
from inferno_runtime.process import free_port
from tests.integration.inferno_governator.governators import governator, governator_process
from tests.integration.inferno_governator.nodes import batch
from tests.integration.inferno_governator.prometheus_server import (
    exporter,
    prometheus,
    prometheus_program,
    scraped,
)
from tests.waiting import eventually

__all__ = ["prometheus_program"]

# Prometheus is fetched and started, and asked again after up to ten seconds.

SUCCESS = "nv_inference_request_success"
QUICK = ("--metrics-seconds", "0.2", "--metrics-delay-seconds", "0.5", "--metrics-node-label", "node")


def triton(requests: int) -> str:
    """What Triton 2.51 shows of one model that computed 1 ms for each request."""
    labels = '{model="m",version="1"}'
    return "\n".join(
        [
            f"# TYPE {SUCCESS} counter",
            f"{SUCCESS}{labels} {requests}",
            f'nv_inference_request_failure{{model="m",reason="OTHER",version="1"}} {0}',
            f"nv_inference_count{labels} {2 * requests}",
            f"nv_inference_exec_count{labels} {requests}",
            f"nv_inference_request_duration_us{labels} {3000 * requests}",
            f"nv_inference_queue_duration_us{labels} {500 * requests}",
            f"nv_inference_compute_input_duration_us{labels} {100 * requests}",
            f"nv_inference_compute_infer_duration_us{labels} {800 * requests}",
            f"nv_inference_compute_output_duration_us{labels} {100 * requests}",
            f"nv_inference_pending_request_count{labels} 3",
            "",
        ]
    )


VLLM = """\
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="llama"}} {done}
vllm:request_success_total{{engine="0",finished_reason="length",model_name="llama"}} {done}
vllm:request_success_total{{engine="0",finished_reason="abort",model_name="llama"}} 1
vllm:prompt_tokens_total{{engine="0",model_name="llama"}} {tokens}
vllm:generation_tokens_total{{engine="0",model_name="llama"}} {tokens}
vllm:e2e_request_latency_seconds_sum{{engine="0",model_name="llama"}} {seconds}
vllm:request_queue_time_seconds_sum{{engine="0",model_name="llama"}} 0.25
vllm:request_inference_time_seconds_sum{{engine="0",model_name="llama"}} {seconds}
vllm:num_requests_waiting{{engine="0",model_name="llama"}} 2
"""
DCGM = """\
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="h"} 50
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="h"} 1024
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="h"} 3072
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="h"} 300
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="h"} -7
"""


async def test_what_was_scraped_counts_once_through_kill_9_an_absence_and_a_counter_that_was_reset(
    prometheus_program: str, sqlite_url: str, tmp_path: Path
) -> None:
    async with exporter(triton(1000)) as page, prometheus(prometheus_program, tmp_path, {"n": page.address}) as server:
        await scraped(server, SUCCESS, 1000)
        async with governator_process(sqlite_url, "--metrics", str(server), *QUICK) as first:
            page.page = triton(1007)
            await eventually(first.client.requests, 30, "something is billed")
            assert await first.client.requests() == 7
            await first.kill()
        page.page = triton(1010)
        await scraped(server, SUCCESS, 1010)
        # The target's process begins anew while nobody reads.
        page.page = triton(4)
        await scraped(server, SUCCESS, 4)
        async with governator_process(sqlite_url, "--metrics", str(server), *QUICK) as second:
            page.page = triton(6)
            await scraped(server, SUCCESS, 6)

            async def all_there() -> bool:
                return await second.client.requests() >= 7 + 3 + 6

            await eventually(all_there, 30, "what was missed is read")
            page.page = triton(7)

            async def one_more() -> bool:
                return await second.client.requests() == 7 + 3 + 7

            await eventually(one_more, 30, "each request is billed once")


async def test_triton_vllm_and_dcgm_of_one_node_are_one_node_with_its_price(
    prometheus_program: str, sqlite_url: str, tmp_path: Path
) -> None:
    config = tmp_path / "inferno.yaml"
    config.write_text(
        "governator:\n  metrics_nodes:\n"
        "    gpu-*: {price_per_hour: 3.60, region: eu-1, instance_type: p5, spot: true}\n"
    )
    file = parse_database(sqlite_url).file
    assert file is not None
    async with (
        exporter(triton(5)) as of_triton,
        exporter(VLLM.format(done=1, tokens=10, seconds=1.5)) as of_vllm,
        exporter(DCGM) as of_dcgm,
        prometheus(
            prometheus_program,
            tmp_path,
            {"gpu-1": of_triton.address, "gpu-1 ": of_vllm.address, " gpu-1": of_dcgm.address},
        ) as server,
    ):
        await scraped(server, "vllm:prompt_tokens_total", 10)
        await scraped(server, SUCCESS, 5)
        options = ("--config", str(config), "--metrics", str(server), *QUICK)
        async with governator_process(sqlite_url, *options) as running:
            of_triton.page = triton(8)
            of_vllm.page = VLLM.format(done=3, tokens=110, seconds=2.0)

            async def lines() -> dict[str, int]:
                return {line.model: line.requests for line in (await running.client.report()).lines}

            async def both() -> bool:
                return await lines() == {"": 0, "llama": 4, "m": 3}

            await eventually(both, 30, "both models are billed")
            report = await running.client.report()
            assert {line.node_id for line in report.lines} == {"gpu-1"}
            assert report.total_cost_micros > 0
    with closing(sqlite3.connect(file)) as database:
        facts = database.execute(
            "SELECT price_micros_per_hour, region, device, gpu_count, instance_type, spot FROM node_facts"
        ).fetchall()
        gpus = database.execute(
            "SELECT DISTINCT name, memory_used_bytes, memory_total_bytes, round(1.0 * busy_micros / window_micros, 3), "
            "round(1.0 * energy_millijoules * 1000 / window_micros) FROM device_sample "
            "JOIN series ON series.id = device_sample.series"
        ).fetchall()
        tokens = database.execute(
            "SELECT sum(requests), sum(input_tokens), sum(output_tokens) FROM model_minute "
            "JOIN series ON series.id = model_minute.series WHERE series.name = 'llama'"
        ).fetchone()
        asked = database.execute("SELECT sum(requests), sum(client_errors) FROM request_minute").fetchone()
        compute = database.execute("SELECT max(compute_micros * 1.0 / window_micros) FROM model_sample").fetchone()
    assert facts[-1] == (3_600_000, "eu-1", "NVIDIA H100 80GB HBM3", 2, "p5", 1)
    assert tokens == (4, 100, 100)
    assert asked == (4, 0)
    assert gpus == [("GPU-a", 1 << 30, 4 << 30, 0.5, 300.0)]
    # Half a second of requests in a fifth of one: they ran at the same time.
    assert compute == (1.0,)


async def test_without_prometheus_telemetry_goes_on_and_it_is_found_when_it_comes(
    prometheus_program: str,
    sqlite_url: str,
    tmp_path: Path,
    socket_dir: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings: dict[str, Any] = {
        "metrics": address,
        "metrics_seconds": 0.2,
        "metrics_delay_seconds": 0.5,
        "metrics_node_label": "node",
    }
    async with (
        exporter(triton(5)) as page,
        exporter(triton(5)) as own,
        governator(sqlite_url, socket_dir, **settings) as client,
    ):
        await client.store([batch(1)])
        assert await client.requests() == 1
        targets = {"n": page.address, "node-1": own.address}
        async with prometheus(prometheus_program, tmp_path, targets, address) as server:
            await scraped(server, SUCCESS, 5, targets=2)
            page.page = own.page = triton(9)
            await scraped(server, SUCCESS, 9, targets=2)
            said = ""

            def left_out() -> bool:
                nonlocal said
                said += capfd.readouterr().out
                return "a node that sends telemetry itself is left out" in said

            await eventually(left_out, 45, "Prometheus tells of a node that tells of itself")

            async def found() -> bool:
                return await client.requests() == 1 + 4

            await eventually(found, 45, "what Prometheus has is billed, but not of a node that tells of itself")
    assert f"Prometheus at {address} cannot be reached" in said
    assert "telemetry from Prometheus again" in said


async def test_a_question_that_prometheus_does_not_understand_is_named_with_its_setting(
    prometheus_program: str, sqlite_url: str, tmp_path: Path, socket_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with prometheus(prometheus_program, tmp_path, {}) as server:
        settings: dict[str, Any] = {"metrics": str(server), "metrics_match": 'job="a', "metrics_seconds": 0.2}
        async with governator(sqlite_url, socket_dir, **settings) as client:
            seen: list[str] = []

            def named() -> bool:
                seen.append(capfd.readouterr().out)
                return "does not understand the question" in "".join(seen)

            await eventually(named, 30, "the question is named")
            await client.store([batch(1)])
    assert "governator.metrics_match" in "".join(seen)
