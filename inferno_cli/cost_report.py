"""A report on cost: how it is asked for, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

import grpc

from inferno.governance.v1 import governance_service_pb2_grpc as governance_grpc
from inferno.governance.v1 import report_pb2 as wire
from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.bill import without_governator
from inferno_governator import cost_wire
from inferno_governator.analysis.breakdown import Dimension
from inferno_governator.analysis.cost_report import CostReport
from inferno_governator.reports import figures
from inferno_governator.reports.document import document
from inferno_governator.reports.html import html
from inferno_governator.reports.markdown import markdown
from inferno_governator.reports.sheet import columns
from inferno_governator.reports.words import explanation, remarks
from inferno_runtime.errors import InvalidInput


def question(
    period: str, dimensions: str, filters: Iterable[str], compare: str | None, top: int | None, *, timeline: bool
) -> wire.ExplainCostRequest:
    """What is asked, from what was written.

    Raises:
        InvalidInput: A dimension is none, or a filter is not written as one.
    """
    return wire.ExplainCostRequest(
        period=wire.CostPeriod(name=period),
        group_by=cost_wire.encode_dimensions([dimension(each) for each in dimensions.split(",") if each.strip()]),
        filters=cost_wire.encode_filters(where(filters)),
        compare=wire.CostPeriod(name=compare) if compare else None,
        line_limit=top or 0,
        timeline=timeline,
    )


def dimension(word: str) -> Dimension:
    """The dimension of a word.

    Raises:
        InvalidInput: There is none.
    """
    try:
        return Dimension(word.strip())
    except ValueError:
        raise InvalidInput(
            f"{word.strip()!r} is no dimension of a bill.",
            reason="BAD_DIMENSION",
            fix=f"Known are {', '.join(each.value for each in Dimension)}.",
        ) from None


def where(filters: Iterable[str]) -> dict[Dimension, set[str]]:
    """Filters as they were written; several of one dimension let through any of their values.

    Raises:
        InvalidInput: One is not written as a filter.
    """
    wanted: dict[Dimension, set[str]] = {}
    for each in filters:
        word, equals, value = each.partition("=")
        if not equals:
            raise InvalidInput(
                f"{each!r} is no filter.", reason="BAD_FILTER", fix="Write DIMENSION=VALUE, like team=search."
            )
        wanted.setdefault(dimension(word), set()).add(value)
    return wanted


async def ask(endpoint: public.Endpoint, asked: wire.ExplainCostRequest, timeout: float) -> CostReport:
    """Ask the governator, through the public port.

    Raises:
        InvalidInput: The question cannot be answered.
        Unavailable: The mesh, or the governator behind it, does not answer.
        Unsupported: There is no governator behind it.
    """
    async with public.connected(endpoint) as channel:
        stub = governance_grpc.GovernanceServiceStub(channel)
        try:
            answer: wire.ExplainCostResponse = await stub.ExplainCost(asked, timeout=timeout)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise without_governator(endpoint, "bill") from error
            raise
        return cost_wire.decode(answer)


def render(report: CostReport, form: str) -> str:
    """A report as text, without a newline at its end."""
    return _RENDERERS[form](report).removesuffix("\n")


def _table(report: CostReport) -> str:
    where = "; ".join(f"{figures.title(each)} {', '.join(sorted(of))}" for each, of in report.where.items())
    parts = [f"{figures.span(report.period)}{f', only {where}' if where else ''}"]
    if report.lines:
        sheet = columns(report)
        rows = [*zip(*(column.cells for column in sheet), strict=True)]
        if report.by:
            rows.append(tuple(column.total for column in sheet))
        shown = [output.Column(str(at), column.title.upper(), right=column.right) for at, column in enumerate(sheet)]
        parts.append(output.table(shown, [{str(at): cell for at, cell in enumerate(row)} for row in rows]))
    else:
        parts.append("Nothing was paid for.")
    parts += [f"! {remark}" for remark in remarks(report)]
    if report.change and report.compared_with:
        told = explanation(report.change)
        lines = [f"  {line}" for line in told.lines()]
        parts.append("\n".join([f"Since {figures.span(report.compared_with)}:", told.headline(), *lines]))
    return "\n\n".join(parts)


def _json(report: CostReport) -> str:
    return json.dumps(document(report), ensure_ascii=False, indent=2)


_RENDERERS: Mapping[str, Callable[[CostReport], str]] = {
    "table": _table,
    "json": _json,
    "markdown": markdown,
    "html": html,
}
