"""The report for auditors: asked of the governator and the mesh, and written in the form that is wanted."""

from __future__ import annotations

from typing import Any

import grpc

from inferno.governance.v1 import decision_pb2 as wire
from inferno.governance.v1 import governance_service_pb2_grpc as wire_grpc
from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_grpc
from inferno_cli import decisions, output
from inferno_cli import endpoint as public
from inferno_cli.asking import Asked
from inferno_cli.bill import without_governator
from inferno_governator.reports.compliance import Compliance, Row, document, html, markdown
from inferno_runtime.clock import SystemClock

_AUDIT = 1000


def show(asked: Asked, form: str) -> None:
    """Print the report.

    Raises:
        InfernoError: The governator or the mesh does not answer, or refuses.
    """
    report = public.within(asked.timeout, lambda: _ask(asked), f"Asking the mesh at {asked.endpoint}")
    if form == "json" or asked.form == "json":
        output.print_json(document(report))
    else:
        output.print_line({"markdown": markdown, "html": html}[form](report).removesuffix("\n"))


async def _ask(asked: Asked) -> Compliance:
    async with public.connected(asked.endpoint) as channel:
        governor: Any = wire_grpc.GovernanceServiceStub(channel)
        try:
            replayed = await governor.ReplayDecisions(wire.ReplayDecisionsRequest())
            entries = [each async for piece in governor.ListLedger(wire.ListLedgerRequest()) for each in piece.entries]
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise without_governator(asked.endpoint, "decisions") from error
            raise
        access = await _access(channel)
    rows = [
        Row(
            decisions.when(each.time),
            each.by,
            f"{each.number} {each.kind}",
            str(each.decision or ""),
            decisions.said(each),
        )
        for each in entries
    ]
    return Compliance(
        at=SystemClock().wall(),
        entries=replayed.integrity.entries,
        head=replayed.integrity.head,
        damage=replayed.integrity.sentence,
        decisions=replayed.decisions,
        same=replayed.same,
        difference=f"decision {replayed.first_different}: {replayed.difference}" if replayed.first_different else "",
        changes=tuple(rows),
        access=access,
    )


async def _access(channel: grpc.aio.Channel) -> tuple[Row, ...] | None:
    """What the proxy's audit log tells; None behind a port without a proxy."""
    stub: Any = mesh_grpc.MeshServiceStub(channel)
    try:
        audit = await stub.ListAudit(mesh.ListAuditRequest(limit=_AUDIT))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        raise
    return tuple(
        Row(decisions.when(each.time), each.caller, each.action, each.subject, each.detail, each.refused)
        for each in audit.entries
    )
