"""What models can do on the mesh's nodes, as the governator has it and people read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from inferno.governance.v1 import capacity_pb2
from inferno.governance.v1 import governance_service_pb2 as governance
from inferno.governance.v1 import governance_service_pb2_grpc as governance_grpc
from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.bill import without_governator
from inferno_cli.output import Column

Report = capacity_pb2.CapacityReport


Answer = governance.GetCapacityResponse


async def ask(endpoint: public.Endpoint, node: str, model: str, timeout: float) -> Answer:
    """Ask the governator, through the public port, for the newest report about each thing; empty names are all.

    Raises:
        Unavailable: The mesh, or the governator behind it, does not answer.
        Unsupported: There is no governator behind it, or an older one.
    """
    async with public.connected(endpoint) as channel:
        stub = governance_grpc.GovernanceServiceStub(channel)
        try:
            request = governance.GetCapacityRequest(node_id=node, model=model)
            answer: Answer = await stub.GetCapacity(request, timeout=timeout)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise without_governator(endpoint, "capacities") from error
            raise
        return answer


def document(report: Report, objective_ms: float | None) -> dict[str, Any]:
    """A report as JSON values, with its capacity: the step with the most inferences a second in which nothing failed
    and whose 99th percentile is within the objective (by default the one that was measured for)."""
    objective = report.objective_micros if objective_ms is None else round(objective_ms * 1000)
    within = [step for step in report.steps if not step.failures and (not objective or step.p99_micros <= objective)]
    best = max(within, key=lambda step: step.requests_per_second * step.batch, default=None)
    return {
        "node": report.node_id,
        "model": report.model,
        "settings": report.settings,
        "hardware": report.hardware_name,
        "hardware_id": report.hardware,
        "files": report.files or None,
        "configuration": report.configuration,
        "measured_at": report.measured_at.ToJsonString(),
        "complete": report.complete,
        "triton_version": report.triton_version,
        "objective_ms": objective / 1000 or None,
        "capacity": _step(best) if best else None,
        "steps": [_step(step) for step in report.steps],
    }


def _step(step: capacity_pb2.CapacityStep) -> dict[str, Any]:
    return {
        "batch": step.batch,
        "concurrency": step.concurrency,
        "requests": step.requests,
        "failures": step.failures,
        "requests_per_second": step.requests_per_second,
        "inferences_per_second": step.requests_per_second * step.batch,
        "uncertainty": step.uncertainty if step.uncertainty >= 0 else None,
        "p50_ms": step.p50_micros / 1000,
        "p95_ms": step.p95_micros / 1000,
        "p99_ms": step.p99_micros / 1000,
        "generator_cores": step.generator_cores,
    }


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


_COLUMNS = (
    Column("node", "NODE"),
    Column("model", "MODEL"),
    Column("requests_per_second", "REQUESTS/s", show=_figure, right=True),
    Column("inferences_per_second", "INFERENCES/s", show=_figure, right=True),
    Column("p99_ms", "p99 ms", show=_figure, right=True),
    Column("objective_ms", "WITHIN ms", show=_figure, right=True),
    Column("batch", "BATCH", right=True),
    Column("concurrency", "IN FLIGHT", right=True),
    Column("measured", "MEASURED"),
    Column("settings", "SETTINGS"),
    Column("hardware", "HARDWARE"),
)


_DEVICE_COLUMNS = (
    Column("node", "NODE"),
    Column("device", "DEVICE"),
    Column("name", "NAME"),
    Column("figure", "FIGURE"),
    Column("value", "VALUE", show=_figure, right=True),
    Column("unit", "UNIT"),
    Column("spread", "±", show=lambda share: f"{share:.0%}", right=True),
    Column("library", "BY"),
    Column("measured", "MEASURED"),
)


def show_devices(figures: Sequence[capacity_pb2.DeviceFigure], form: output.Format) -> None:
    """Print what devices can do, as a table or as JSON."""
    documents: list[dict[str, Any]] = [
        {
            "node": each.node_id,
            "device": each.device_id,
            "name": each.device_name,
            "hardware_id": each.hardware,
            "figure": each.figure,
            "value": each.value,
            "unit": each.unit,
            "spread": each.spread,
            "library": each.library,
            "measured_at": each.measured_at.ToJsonString(),
        }
        for each in figures
    ]
    if form == "json":
        output.print_json(documents)
    elif not documents:
        output.print_line("No node has said what its devices can do. Measure it there: inferno backend bench.")
    else:
        output.print_table(_DEVICE_COLUMNS, [{**each, "measured": each["measured_at"][:16]} for each in documents])


def show(reports: Sequence[Report], objective_ms: float | None, form: output.Format) -> None:
    """Print the capacities, as a table or as JSON."""
    documents = [document(each, objective_ms) for each in reports]
    if form == "json":
        output.print_json(documents)
        return
    if not documents:
        output.print_line("No node has said what its models can do. Measure it there: inferno backend bench.")
        return
    rows = [
        {
            **each,
            **(each["capacity"] or {}),
            "measured": each["measured_at"][:16] + ("" if each["complete"] else " (interrupted)"),
        }
        for each in documents
    ]
    output.print_table(_COLUMNS, rows)
