"""``inferno mesh``: orders on a running mesh, and what is known of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import rich_click as click

from inferno_cli import output
from inferno_cli.asking import Asked, asking, ordering

_KINDS = ("node-weight", "node-quarantine", "split", "limit", "model-quarantine", "cap")


@click.group("mesh")
def command() -> None:
    """Order what a running mesh does, and see what holds.

    Orders lie over the settings (default < file < environment < flags < orders), hold until they are cleared or expire,
    also through restarts, and are noted in the audit log with who gave them.
    """


@command.command("weight")
@click.argument("node")
@click.argument("factor", type=click.FLOAT)
@ordering
def weight(asked: Asked, node: str, factor: float) -> None:
    """Give NODE FACTOR times the calls it would get (0 to 10)."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    holds = operating.lifetime(asked.holds)
    request = wire.SetNodeWeightRequest(node_id=node, factor=factor, reason=asked.reason, lifetime=holds)
    _place(asked, lambda stub: stub.SetNodeWeight(request))


@command.command("quarantine")
@click.argument("subject")
@click.option("--model", "of_model", is_flag=True, help="SUBJECT is a model, not a node.")
@ordering
def quarantine(asked: Asked, subject: str, of_model: bool) -> None:
    """Keep all calls from a node; with --model, have all calls of a model answered UNAVAILABLE."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    holds = operating.lifetime(asked.holds)
    if of_model:
        model = wire.QuarantineModelRequest(model=subject, reason=asked.reason, lifetime=holds)
        _place(asked, lambda stub: stub.QuarantineModel(model))
    else:
        node = wire.QuarantineNodeRequest(node_id=subject, reason=asked.reason, lifetime=holds)
        _place(asked, lambda stub: stub.QuarantineNode(node))


@command.command("release")
@click.argument("subject")
@click.option("--model", "of_model", is_flag=True, help="SUBJECT is a model, not a node.")
@asking
def release(asked: Asked, subject: str, of_model: bool) -> None:
    """End the quarantine of a node, or with --model of a model."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    def question(stub: Any) -> Any:
        if of_model:
            return stub.ReleaseModel(wire.ReleaseModelRequest(model=subject))
        return stub.ReleaseNode(wire.ReleaseNodeRequest(node_id=subject))

    answer = asked.ask(question)
    said = "is released" if answer.HasField("order") else "was in no quarantine"
    operating.show(answer, asked.form, lambda: output.print_line(f"{subject} {said}."))


@command.command("split")
@click.argument("model")
@click.argument("shares", nargs=-1, required=True, metavar="GROUP=PERCENT...")
@click.option("--by", default="version", metavar="version|label:NAME", help="What names a group (default version).")
@ordering
def split(asked: Asked, model: str, shares: tuple[str, ...], by: str) -> None:
    """Share the calls of MODEL out: inferno mesh split filetype 1=90 2=10."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    request = wire.SetSplitRequest(
        model=model,
        by=by,
        shares=operating.shares(shares),
        reason=asked.reason,
        lifetime=operating.lifetime(asked.holds),
    )
    _place(asked, lambda stub: stub.SetSplit(request))


@command.command("limit")
@click.argument("model")
@click.option("--calls", type=click.IntRange(min=1), metavar="N", help="At most N calls in each period.")
@click.option("--seconds", type=click.FLOAT, default=1.0, metavar="SECONDS", help="Length of the period (default 1).")
@click.option("--per", default="model", metavar="WHO", help="model, address, key or header:NAME (default model).")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="At most N calls under way.")
@ordering
def limit(asked: Asked, model: str, calls: int | None, seconds: float, per: str, concurrency: int | None) -> None:
    """Bound how often MODEL is called, and how many calls of it are under way ('*': every model)."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    request = wire.SetLimitRequest(
        model=model,
        rate=wire.Rate(calls=calls, seconds=seconds, per=per) if calls else None,
        max_concurrency=concurrency or 0,
        reason=asked.reason,
        lifetime=operating.lifetime(asked.holds),
    )
    _place(asked, lambda stub: stub.SetLimit(request))


@command.command("orders")
@asking
def orders(asked: Asked) -> None:
    """List what was ordered and still holds."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    answer = asked.ask(lambda stub: stub.ListOrders(wire.ListOrdersRequest()))
    operating.show(answer, asked.form, lambda: operating.orders_table(answer.orders))


@command.command("clear")
@click.argument("subject", default="")
@click.option("--all", "every", is_flag=True, help="Take back the orders about every node and model.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(_KINDS), help="Only orders of this kind.")
@asking
def clear(asked: Asked, subject: str, every: bool, kinds: tuple[str, ...]) -> None:
    """Take back the orders about SUBJECT, a node or a model."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    numbers = [wire.OrderKind.Value(f"ORDER_KIND_{kind.replace('-', '_').upper()}") for kind in kinds]
    request = wire.ClearOrdersRequest(subject=subject, kinds=numbers, all=every)
    answer = asked.ask(lambda stub: stub.ClearOrders(request))
    output.say(f"Orders taken back: {len(answer.orders)}.")
    if answer.orders or asked.form == "json":
        operating.show(answer, asked.form, lambda: operating.orders_table(answer.orders))


@command.command("endpoints")
@click.option("--model", default="", metavar="NAME", help="Only those of this model.")
@click.option("--node", default="", metavar="NAME", help="Only those of this node.")
@asking
def endpoints(asked: Asked, model: str, node: str) -> None:
    """List each model on each node: its share of calls and why, and what was observed."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    request = wire.ListEndpointsRequest(model=model, node_id=node)
    answer = asked.ask(lambda stub: stub.ListEndpoints(request))
    operating.show(answer, asked.form, lambda: operating.candidates_table(answer.endpoints))


@command.command("events")
@click.option("--subject", default="", metavar="NAME", help="Only those about this node, model or data plane.")
@asking
def events(asked: Asked, subject: str) -> None:
    """Show what the mesh did by itself and what was done to it, oldest first."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    answer = asked.ask(lambda stub: stub.ListEvents(wire.ListEventsRequest(subject=subject)))
    operating.show(answer, asked.form, lambda: operating.events_table(answer.events))


@command.command("audit")
@click.option("--subject", default="", metavar="NAME", help="Only acts on this node or model.")
@click.option("--caller", default="", metavar="NAME", help="Only acts of this caller, such as 'operator ada'.")
@click.option("--refused", is_flag=True, help="Only acts that were refused.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, metavar="N", help="At most N acts (default 50).")
@asking
def audit(asked: Asked, subject: str, caller: str, refused: bool, limit: int) -> None:
    """Show who did what to the mesh, newest first."""
    from inferno.mesh.v1 import mesh_service_pb2 as wire
    from inferno_cli import operating

    request = wire.ListAuditRequest(subject=subject, caller=caller, refused=refused, limit=limit)
    answer = asked.ask(lambda stub: stub.ListAudit(request))
    operating.show(answer, asked.form, lambda: operating.audit_table(answer.entries))


def _place(asked: Asked, question: Callable[[Any], Awaitable[Any]]) -> None:
    """Give an order and say what holds now."""
    from inferno_cli import operating

    answer = asked.ask(question)
    operating.show(answer, asked.form, lambda: operating.order_line(answer.order))
