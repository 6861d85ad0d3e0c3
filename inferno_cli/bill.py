"""The bill of a period, as the governator writes it and people read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import governance_service_pb2_grpc as governance_grpc
from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.output import Column
from inferno_cli.period import Period
from inferno_runtime.errors import Unsupported

Report = governance.GetCostReportResponse


async def ask(endpoint: public.Endpoint, period: Period, timeout: float) -> Report:
    """Ask the governator, through the public port, for the bill.

    Raises:
        Unavailable: The mesh, or the governator behind it, does not answer.
        Unsupported: There is no governator behind it.
    """
    start, end = Timestamp(), Timestamp()
    start.FromDatetime(period.start)
    end.FromDatetime(period.end)
    async with public.connected(endpoint) as channel:
        stub = governance_grpc.GovernanceServiceStub(channel)
        try:
            answer: Report = await stub.GetCostReport(
                governance.GetCostReportRequest(start=start, end=end), timeout=timeout
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise without_governator(endpoint, "bill") from error
            raise
        return answer


def without_governator(endpoint: public.Endpoint, what: str) -> Unsupported:
    """The error for a mesh that keeps no bill, or what else a governator keeps."""
    return Unsupported(
        f"The mesh at {endpoint} keeps no {what}: its proxy knows no governator.",
        reason="NO_GOVERNATOR",
        fix="Start one (inferno governator) and tell the proxy where it is with --governator HOST:PORT.",
    )


def document(report: Report) -> dict[str, Any]:
    """The bill as JSON values; costs in millionths of a US dollar, times in microseconds."""
    return {
        "start": report.start.ToJsonString(),
        "end": report.end.ToJsonString(),
        "total_cost_micros": report.total_cost_micros,
        "dropped_samples": report.dropped_samples,
        "lines": [
            {
                "node": line.node_id,
                "model": line.model or None,
                "requests": line.requests,
                "errors": line.errors,
                "inferences": line.inferences,
                "mean_latency_micros": line.mean_latency_micros or None,
                "mean_queue_micros": line.mean_queue_micros or None,
                "utilization": line.utilization,
                "measured_seconds": line.measured_seconds,
                "cost_micros": line.cost_micros,
                "energy_kwh": line.energy_joules / 3_600_000 or None,
            }
            for line in report.lines
        ],
    }


def _milliseconds(micros: int | None) -> str:
    return "-" if micros is None else f"{micros / 1000:.2f}"


def _busy(line: Mapping[str, Any]) -> str:
    # A line without a model tells how busy the node's devices were, by whatever ran on them.
    share = f"{line['utilization']:.1%}"
    return share if line["model"] else f"devices {share}"


_COLUMNS = (
    Column("node", "NODE", show=lambda name: name or "(commitment unused)"),
    Column("model", "MODEL", show=lambda name: name or "(idle)"),
    Column("requests", "REQUESTS", right=True),
    Column("errors", "ERRORS", right=True, colour=lambda count: "red" if count else None),
    Column("mean_latency_micros", "LATENCY ms", show=_milliseconds, right=True),
    Column("mean_queue_micros", "QUEUE ms", show=_milliseconds, right=True),
    Column("busy", "BUSY", right=True),
    Column("measured_seconds", "MEASURED s", show=lambda seconds: f"{seconds:.0f}", right=True),
    Column("energy_kwh", "kWh", show=lambda energy: "-" if energy is None else f"{energy:.3f}", right=True),
    Column("cost_micros", "COST", show=output.money, right=True),
)


def show(report: Report, form: output.Format) -> None:
    """Print the bill, as a table with its total or as JSON."""
    bill = document(report)
    if form == "json":
        output.print_json(bill)
        return
    if not bill["lines"]:
        output.print_line(f"Nothing was measured from {bill['start']} to {bill['end']}.")
        return
    output.print_table(_COLUMNS, [{**line, "busy": _busy(line)} for line in bill["lines"]])
    output.print_line(f"\ntotal {output.money(report.total_cost_micros)}  from {bill['start']} to {bill['end']}")
    if report.dropped_samples:
        output.print_line(
            f"! {report.dropped_samples} samples were dropped by nodes: the bill is too low by what they held."
        )
