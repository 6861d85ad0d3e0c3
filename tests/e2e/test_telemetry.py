"""Telemetry from real agents to the bill, with the governator away for a while."""

from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.cloud import Cloud, cloud, load, wait_until
from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import governance_service_pb2_grpc
from inferno_backend.benchmark.results import Results
from tests.e2e.conftest import Repository
from tests.unit.inferno_backend.benchmark.results import model, step
from tests.waiting import eventually

pytestmark = pytest.mark.e2e


async def _report(endpoint: str) -> governance.GetCostReportResponse | None:
    async with grpc.aio.insecure_channel(endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = governance_service_pb2_grpc.GovernanceServiceStub(channel)
        try:
            return await stub.GetCostReport(governance.GetCostReportRequest(), timeout=3)
        except grpc.aio.AioRpcError:
            return None


def requests(report: governance.GetCostReportResponse) -> int:
    return sum(line.requests for line in report.lines if line.model == "whoami")


async def billed(endpoint: str, count: int, within: float = 40) -> governance.GetCostReportResponse:
    """Wait until the bill knows of this many requests, or more."""

    async def known() -> governance.GetCostReportResponse | None:
        report = await _report(endpoint)
        return report if report is not None and requests(report) >= count else None

    found = await eventually(known, within, f"the bill knows of {count} requests")
    assert found is not None
    return found


async def _executed(endpoint: str) -> int:
    """Requests that the model servers themselves have counted."""
    async with grpc.aio.insecure_channel(endpoint, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name="whoami"), timeout=60)
    return sum(one.inference_stats.success.count for one in answer.model_stats)


def _governator(running: Cloud) -> psutil.Process:
    found = [p for p in psutil.Process(running.process.pid).children() if "governator" in " ".join(p.cmdline())]
    assert found, "no governator is running"
    return found[0]


async def test_every_request_is_billed_once_though_the_governator_was_away(
    tmp_path: Path, repository: Repository
) -> None:
    config = "backend:\n  price_per_hour: 3.60\n"
    # What a benchmark on the first node has left there.
    Results(tmp_path / "data" / "node-1").keep(model(step(150)))
    async with cloud(tmp_path / "data", model_repository=repository("whoami"), config=config) as running:
        async with load(running.endpoint, rate=50) as traffic:
            before = requests(await billed(running.endpoint, 1))
            away = _governator(running)
            away.kill()
            await wait_until(lambda: not away.is_running() or away.status() == psutil.STATUS_ZOMBIE, 5, "it is dead")
            await billed(running.endpoint, before + 1)
            report = await traffic.finish()
        assert report.failed == 0, report.failures[:3]
        # On a slow machine a call may be hedged: it runs twice, and is paid for twice.
        executed = await _executed(running.endpoint)
        assert executed >= report.succeeded
        bill = await billed(running.endpoint, executed)
        assert requests(bill) == executed, "requests were counted twice"
        assert {line.node_id for line in bill.lines if line.model == "whoami"} == {n["id"] for n in running.nodes}
        assert bill.dropped_samples == 0
        assert sum(line.cost_micros for line in bill.lines) == bill.total_cost_micros
        # 3.60 dollars an hour are 1,000 micro-dollars a second and node.
        seconds = {line.node_id: line.measured_seconds for line in bill.lines}
        assert bill.total_cost_micros == pytest.approx(1000 * sum(seconds.values()), rel=0.01)
        # It is told apart from telemetry, and so perhaps later.
        (capacity,) = await eventually(
            lambda: asyncio.to_thread(_printed, "capacity", running.endpoint), 60, "the capacity is known"
        )
        assert (capacity["node"], capacity["capacity"]["requests_per_second"]) == ("node-1", 150)
        printed = await asyncio.to_thread(_printed, "cost", running.endpoint)
        assert printed["total_cost_micros"] >= bill.total_cost_micros
        await asyncio.to_thread(_exported_between_two_reports, running.endpoint, tmp_path)


def _exported_between_two_reports(endpoint: str, folder: Path) -> None:
    """Time goes on, so that the bill grows: what is exported lies between the reports before and after it."""

    def report(form: str) -> str:
        asked = ("--period", "24h", "--by", "model", "--format", form)
        return _inferno("cost", "report", *asked, "--endpoint", endpoint)

    before = json.loads(report("json"))
    file = folder / "focus.csv"
    _inferno("cost", "export", "--period", "24h", "--hourly", "--out", str(file), "--endpoint", endpoint)
    after = json.loads(report("json"))
    assert sum(line["cost_micros"] for line in before["lines"]) == before["total"]["cost_micros"] > 0
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    exported = sum(Decimal(row["BilledCost"]) for row in rows) * 1_000_000
    assert before["total"]["cost_micros"] <= exported <= after["total"]["cost_micros"]
    assert {row["x_Model"] for row in rows} >= {"whoami", ""}
    assert {row["PricingCategory"] for row in rows} == {"Standard"}
    assert "<svg" in report("html")
    assert "| whoami |" in report("markdown")


def _inferno(*arguments: str) -> str:
    inferno = str(Path(sys.executable).with_name("inferno"))
    return subprocess.run([inferno, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def _printed(command: str, endpoint: str) -> Any:
    return json.loads(_inferno(command, "--endpoint", endpoint, "-o", "json"))
