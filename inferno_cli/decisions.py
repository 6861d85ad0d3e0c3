"""Decisions, as the governator keeps them and people read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import decision_pb2 as wire
from inferno_cli import endpoint as public
from inferno_cli import governing, output
from inferno_cli.asking import Asked
from inferno_cli.output import Column

_WHAT = "decisions"
_DIFFERENT = 3


def show_list(asked: Asked, limit: int, *, waiting: bool) -> None:
    """Print decisions, as a table or as JSON."""
    request = wire.ListDecisionsRequest(limit=limit, waiting=waiting)
    answer = governing.ask(asked, lambda stub: stub.ListDecisions(request, timeout=asked.timeout), _WHAT)
    if asked.form == "json":
        output.print_json([document(each) for each in answer.decisions])
    elif not answer.decisions:
        output.print_line("Nothing waits for an approval." if waiting else "Nothing was decided yet.")
    else:
        output.print_table(_COLUMNS, [row for each in answer.decisions for row in _rows(each)])


def show(asked: Asked, number: int) -> None:
    """Print a decision with its entries."""
    request = wire.GetDecisionRequest(number=number)
    answer = governing.ask(asked, lambda stub: stub.GetDecision(request, timeout=asked.timeout), _WHAT)
    entries = [{**entry(each), "content": json.loads(each.content)} for each in answer.entries]
    output.print_json({"decision": document(answer.decision), "entries": entries})


def explain(asked: Asked, number: int) -> None:
    """Print a decision in sentences."""
    request = wire.ExplainDecisionRequest(number=number)
    answer = governing.ask(asked, lambda stub: stub.ExplainDecision(request, timeout=asked.timeout), _WHAT)
    if asked.form == "json":
        output.print_json({"decision": document(answer.decision), "sentences": list(answer.sentences)})
    else:
        output.print_line("\n".join(answer.sentences))


def approve(asked: Asked, number: int) -> None:
    """Approve a decision, and say what is under way."""
    request = wire.ApproveDecisionRequest(number=number)
    answer = governing.ask(asked, lambda stub: stub.ApproveDecision(request, timeout=asked.timeout), _WHAT)
    if asked.form == "json":
        output.print_json(document(answer.decision))
        return
    for each in answer.decision.actions:
        output.print_line(f"Approved: {each.verb} {each.node_id} of pool {each.pool}.")


def replay(asked: Asked, number: int) -> None:
    """Make decisions again, and say how many came out the same; ends with exit code 3 when not all did."""
    request = wire.ReplayDecisionsRequest(number=number)
    answer = governing.ask(asked, lambda stub: stub.ReplayDecisions(request, timeout=asked.timeout), _WHAT)
    if asked.form == "json":
        output.print_json(
            MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        )
    else:
        share = 100 * answer.same / answer.decisions if answer.decisions else 100.0
        output.print_line(f"{answer.same} of {answer.decisions} decisions come out the same ({share:.4g} %).")
        if answer.first_different:
            output.print_line(f"Decision {answer.first_different} does not: {answer.difference}.")
        output.print_line(chain(answer.integrity))
    if answer.first_different or answer.integrity.damaged:
        raise SystemExit(_DIFFERENT)


def chain(integrity: wire.Integrity) -> str:
    """Whether the chain holds, as a sentence."""
    if integrity.damaged:
        return f"The ledger is damaged. {integrity.sentence}"
    return f"The chain of {integrity.entries} entries is whole; its head is {integrity.head}."


def watch(asked: Asked) -> None:
    """Print each entry as it is written, until interrupted."""

    async def follow() -> None:
        from inferno.governance.v1 import governance_service_pb2_grpc as wire_grpc

        async with public.connected(asked.endpoint) as channel:
            stub: Any = wire_grpc.GovernanceServiceStub(channel)
            async for told in stub.WatchDecisions(wire.WatchDecisionsRequest()):
                one = told.entry
                output.print_line(output.one_line(entry(one)) if asked.form == "json" else _line(one))

    import asyncio

    asyncio.run(follow())


def show_mode(asked: Asked) -> None:
    """Print the mode that holds."""
    answer = governing.ask(asked, lambda stub: stub.GetMode(wire.GetModeRequest(), timeout=asked.timeout), "modes")
    if asked.form == "json":
        output.print_json({"mode": _mode(answer.mode), "acting_pools": list(answer.acting_pools)})
    else:
        pools = ", ".join(answer.acting_pools) or "none"
        output.print_line(f"{_mode(answer.mode)}; pools that act: {pools}")


def set_mode(asked: Asked, mode: str, reason: str) -> None:
    """Have another mode, and say so."""
    request = wire.SetModeRequest(mode=wire.Mode.Value(f"MODE_{mode.upper()}"), reason=reason)
    governing.ask(asked, lambda stub: stub.SetMode(request, timeout=asked.timeout), "modes")
    output.say(f"The mode is {mode}.")


def document(one: wire.Decision) -> dict[str, Any]:
    """A decision as JSON values; money in millionths of a US dollar."""
    return {
        "number": one.number,
        "time": one.time.ToJsonString(),
        "mode": _mode(one.mode),
        "fired": one.fired or None,
        "approved_by": one.approved_by or None,
        "hash": one.hash,
        "rulings": [
            {
                "verb": each.verb,
                "pool": each.pool,
                "node": each.node_id or None,
                "instead_of": each.instead_of or None,
                "reason": each.reason,
                "sentence": each.sentence,
                "evidence": dict(sorted(each.evidence.items())),
                "saves_micros_per_hour": each.saves_micros_per_hour,
                "guard": each.guard or None,
                "forbidden": each.forbidden or None,
            }
            for each in one.rulings
        ],
        "actions": [
            {
                "verb": each.verb,
                "pool": each.pool,
                "node": each.node_id,
                "outcome": each.outcome,
                "sentence": each.sentence,
                "waits": each.waits,
                "rehearsed": each.rehearsed,
                "calls": each.calls,
                "begun": each.begun.ToJsonString(),
                "ended": each.ended.ToJsonString() if each.HasField("ended") else None,
                "forecast_micros_per_hour": each.forecast_micros_per_hour,
                "saved_micros": each.saved_micros if each.HasField("saved_micros") else None,
            }
            for each in one.actions
        ],
    }


def entry(one: wire.LedgerEntry) -> dict[str, Any]:
    """An entry of the ledger as JSON values; its content is text, as it was hashed."""
    return {
        "number": one.number,
        "time": one.time.ToJsonString(),
        "kind": one.kind,
        "decision": one.decision,
        "by": one.by,
        "content": one.content,
        "previous": one.previous,
        "hash": one.hash,
    }


def said(one: wire.LedgerEntry) -> str:
    """What an entry tells, in a few words."""
    content = json.loads(one.content)
    match one.kind:
        case "decision":
            return (
                f"{content['mode']}: rule {content['fired']} fired" if content["fired"] else "everything is forbidden"
            )
        case "approval":
            return f"decision {one.decision} is approved"
        case "outcome":
            rehearsed = " (rehearsed)" if content["rehearsed"] else ""
            return f"{content['verb']} {content['node']} {content['outcome']}{rehearsed}: {content['sentence']}"
        case "saving":
            forecast = output.money(content["forecast_micros_per_hour"])
            return f"{content['node']}: {output.money(content['saved_micros'])} saved in an hour, {forecast} expected"
        case "mode":
            return f"the mode is {content['mode']}{': ' + content['reason'] if content['reason'] else ''}"
        case _:
            return str(content.get("error", one.content))


def when(moment: Timestamp) -> str:
    """A moment for people."""
    return moment.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _line(one: wire.LedgerEntry) -> str:
    about = f" of {one.decision}" if one.decision and one.decision != one.number else ""
    return f"{when(one.time)}  {one.number} {one.kind}{about} by {one.by}: {said(one)}"


def _mode(number: wire.Mode.ValueType) -> str:
    return wire.Mode.Name(number).removeprefix("MODE_").lower()


def _rows(one: wire.Decision) -> Iterator[dict[str, Any]]:
    left = list(one.actions)
    for each in one.rulings:
        action = next((a for a in left if (a.verb, a.pool) == (each.verb, each.pool) and not each.guard), None)
        if action is not None:
            left.remove(action)
        yield {
            "number": one.number,
            "time": when(one.time),
            "mode": _mode(one.mode),
            "rule": each.reason,
            "what": f"{each.verb} {(action.node_id if action else each.node_id) or f'one of {each.pool}'}",
            "became": _became(each, action),
            "saves": each.saves_micros_per_hour,
        }


def _became(ruling: wire.Ruling, action: wire.ActionView | None) -> str:
    if ruling.guard:
        return f"forbidden by {ruling.guard}"
    if action is None:
        return "only observed"
    if action.waits:
        return "waits for approval"
    return f"{action.outcome} (rehearsed)" if action.rehearsed else action.outcome


_COLUMNS = (
    Column("number", "DECISION", right=True),
    Column("time", "TIME (UTC)"),
    Column("mode", "MODE"),
    Column("rule", "RULE"),
    Column("what", "WHAT"),
    Column("became", "BECAME"),
    Column("saves", "SAVES/h", show=output.money, right=True),
)
