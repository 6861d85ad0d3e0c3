"""The operator's verbs of the command line: what is asked of MeshService, and how its answers are shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf import duration_pb2, json_format
from google.protobuf.message import Message

from inferno.mesh.v1 import mesh_service_pb2 as mesh
from inferno.mesh.v1 import mesh_service_pb2_grpc as mesh_grpc
from inferno_cli import endpoint as public
from inferno_cli import output
from inferno_cli.output import Column
from inferno_cli.period import duration
from inferno_runtime.errors import InvalidInput, NotFound

T = TypeVar("T")
Stub = Any

_ORDERS = (
    Column("subject", "SUBJECT"),
    Column("kind", "KIND"),
    Column("summary", "ORDER"),
    Column("by", "BY"),
    Column("expires", "UNTIL"),
    Column("reason", "WHY"),
)
_CANDIDATES = (
    Column("model", "MODEL"),
    Column("node_id", "NODE"),
    Column("share", "SHARE", right=True),
    Column("weight", "WEIGHT", right=True),
    Column("latency", "LATENCY", right=True),
    Column("failed", "FAILED", right=True),
    Column("in_flight", "IN FLIGHT", right=True),
    Column("age", "AGE", right=True),
    Column("why", "WHY NOT MORE"),
)
_TRIES = (
    Column("attempt", "TRY", right=True),
    Column("node", "NODE"),
    Column("took", "TOOK", right=True),
    Column("meaning", "WHAT HAPPENED"),
)
_ENTRIES = (
    Column("time", "TIME"),
    Column("caller", "WHO"),
    Column("action", "ACT"),
    Column("subject", "SUBJECT"),
    Column("detail", "DETAIL"),
    Column("refused", "REFUSED", colour=lambda said: "red" if said else None),
)
_EVENTS = (
    Column("time", "TIME"),
    Column("kind", "EVENT"),
    Column("subject", "SUBJECT"),
    Column("message", "WHAT HAPPENED"),
)


async def call(endpoint: public.Endpoint, ask: Callable[[Stub], Awaitable[T]]) -> T:
    """Ask MeshService something.

    Raises:
        Unavailable: Nobody answers there.
        InfernoError: It was refused.
    """
    async with public.connected(endpoint) as channel:
        stub: Any = mesh_grpc.MeshServiceStub(channel)
        return await ask(stub)


def lifetime(text: str | None) -> duration_pb2.Duration | None:
    """How long an order holds; None for no end.

    Raises:
        InvalidInput: The text is no duration.
    """
    if text is None:
        return None
    holds = duration_pb2.Duration()
    holds.FromTimedelta(duration(text))
    return holds


def shares(texts: Iterable[str]) -> dict[str, int]:
    """Read ``GROUP=PERCENT``.

    Raises:
        InvalidInput: A text is something else.

    >>> shares(["1=90", "2=10"])
    {'1': 90, '2': 10}
    """
    found = {}
    for text in texts:
        group, _, percent = text.rpartition("=")
        if not group or not percent.isdecimal():
            raise InvalidInput(
                f"{text!r} is no share.", reason="BAD_SHARE", fix="Write GROUP=PERCENT, for example 2=10."
            )
        found[group] = int(percent)
    return found


async def explained(stub: Stub, subject: str, kind: str | None) -> mesh.ExplainResponse:
    """An explanation of a model, a node or a call; what ``subject`` is, is found out unless ``kind`` says it.

    Raises:
        NotFound: It is none of them.
    """
    kinds = [kind] if kind else ["model", "node_id", "request_id"]
    for each in kinds:
        try:
            return await _asked(stub.Explain(mesh.ExplainRequest(**{each: subject})))
        except NotFound:
            if len(kinds) == 1:
                raise
    raise NotFound(
        f"{subject!r} is no model, no node and no call that was kept.",
        reason="UNKNOWN_SUBJECT",
        fix="See: inferno status. To have a call kept, send it with the headers x-request-id and x-inferno-explain: 1.",
    )


async def _asked(answer: Awaitable[T]) -> T:
    """An answer, its refusal as an error of ours."""
    import grpc

    from inferno_runtime import rpc

    try:
        return await answer
    except grpc.RpcError as error:
        raise rpc.error_from_rpc(error, "The mesh") from error


def show(message: Message, form: output.Format, as_text: Callable[[], None]) -> None:
    """Print an answer as JSON, or as text for people."""
    if form == "json":
        output.print_json(json_format.MessageToDict(message, preserving_proto_field_name=True))
    else:
        as_text()


def orders_table(orders: Sequence[mesh.Order]) -> None:
    """Print orders."""
    if not orders:
        output.say("No order holds.")
        return
    output.print_table(_ORDERS, [_order(order) for order in orders])


def order_line(order: mesh.Order) -> None:
    """Print what holds now."""
    until = f" until {_moment(order, 'expires')}" if order.HasField("expires") else ""
    output.print_line(f"{order.subject}: {order.summary}{until}, ordered by {order.by}.")


def candidates_table(endpoints: Sequence[mesh.EndpointView]) -> None:
    """Print endpoints."""
    if endpoints:
        output.print_table(_CANDIDATES, [_candidate(one) for one in endpoints])


def explanation(answer: mesh.ExplainResponse) -> None:
    """Print an explanation."""
    output.print_line(answer.summary)
    for rule in answer.rules:
        output.print_line(f"- {rule}")
    if answer.candidates:
        output.print_line("")
        candidates_table(answer.candidates)
    if answer.tries:
        output.print_line("")
        output.print_table(_TRIES, [_try(one) for one in answer.tries])


def audit_table(entries: Sequence[mesh.AuditEntry]) -> None:
    """Print what was done to the mesh."""
    rows = [{name: getattr(one, name) for name in _names(_ENTRIES)} | {"time": _moment(one, "time")} for one in entries]
    output.print_table(_ENTRIES, rows)


def events_table(events: Sequence[mesh.Event]) -> None:
    """Print events."""
    output.print_table(_EVENTS, [_event(one) for one in events])


def _names(columns: Iterable[Column]) -> list[str]:
    return [column.key for column in columns]


def _order(order: mesh.Order) -> dict[str, Any]:
    kind = mesh.OrderKind.Name(order.kind).removeprefix("ORDER_KIND_").lower().replace("_", " ")
    summary = f"{order.summary} (not there now)" if order.idle else order.summary
    return {
        "subject": order.subject,
        "kind": kind,
        "summary": summary,
        "by": order.by,
        "expires": _moment(order, "expires"),
        "reason": order.reason,
    }


def _candidate(one: mesh.EndpointView) -> dict[str, Any]:
    seen = one.observed if one.HasField("observed") else None
    timed = seen is not None and seen.HasField("latency")
    reported = seen is not None and seen.HasField("report_age")
    return {
        "model": one.model,
        "node_id": one.node_id,
        "share": f"{one.expected_share:.0%}",
        "weight": one.weight,
        "latency": f"{_seconds(seen.latency) * 1000:.1f} ms" if seen and timed else None,
        "failed": f"{seen.failed:.0%}" if seen and reported else None,
        "in_flight": seen.in_flight if seen and reported else None,
        "age": f"{_seconds(seen.latency_age):.0f} s" if seen and timed else None,
        "why": " ".join(one.reasons),
    }


def _try(one: mesh.TryView) -> dict[str, Any]:
    return {
        "attempt": one.attempt,
        "node": one.node_id or one.address,
        "took": f"{_seconds(one.duration) * 1000:.0f} ms",
        "meaning": one.meaning,
    }


def _event(one: mesh.Event) -> dict[str, Any]:
    return {"time": _moment(one, "time"), "kind": one.kind, "subject": one.subject, "message": one.message}


def _moment(message: Any, field: str) -> str:
    if not message.HasField(field):
        return ""
    return f"{getattr(message, field).ToDatetime():%Y-%m-%dT%H:%M:%SZ}"


def _seconds(length: duration_pb2.Duration) -> float:
    return length.seconds + length.nanos / 1e9
