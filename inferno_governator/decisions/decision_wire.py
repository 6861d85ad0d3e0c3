"""Decisions and the ledger on the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import decision_pb2 as wire
from inferno_governator.decisions.entry import Entry, Kind
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.mode import Mode
from inferno_governator.decisions.proposal import Ruling
from inferno_governator.decisions.record import Record
from inferno_governator.store.ledger import Integrity

_MODES = {Mode.OBSERVE: wire.MODE_OBSERVE, Mode.ADVISE: wire.MODE_ADVISE, Mode.ACT: wire.MODE_ACT}
_MODES_BACK = {number: mode for mode, number in _MODES.items()}


def decision(entry: Entry, record: Record, about: Sequence[Entry], intents: Sequence[Intent]) -> wire.Decision:
    """A decision; ``about`` are the ledger's entries about it."""
    saved = {each["intent"]: int(each["saved_micros"]) for each in _contents(about, Kind.SAVING)}
    approved = [each.by for each in about if each.kind is Kind.APPROVAL]
    return wire.Decision(
        number=entry.number,
        time=time(entry.at_micros),
        mode=_MODES[record.mode],
        fired=record.fired,
        rulings=map(_ruling, record.rulings),
        actions=[_action(each, saved.get(each.number)) for each in intents],
        approved_by=approved[0] if approved else "",
        hash=entry.hash,
    )


def entry(one: Entry) -> wire.LedgerEntry:
    """An entry as it is kept."""
    return wire.LedgerEntry(
        number=one.number,
        time=time(one.at_micros),
        kind=one.kind.value,
        decision=one.decision,
        by=one.by,
        content=one.content,
        previous=one.previous,
        hash=one.hash,
    )


def integrity(found: Integrity) -> wire.Integrity:
    """Whether the chain holds."""
    damage = found.damage
    return wire.Integrity(
        entries=found.count,
        head=found.head,
        damaged=damage.number if damage else 0,
        sentence=damage.sentence if damage else "",
    )


def mode(one: Mode) -> wire.Mode.ValueType:
    """A mode."""
    return _MODES[one]


def mode_from(number: wire.Mode.ValueType) -> Mode | None:
    """The mode of a number; None where it is none."""
    return _MODES_BACK.get(number)


def time(micros: int) -> Timestamp:
    """A moment in Unix microseconds."""
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def _contents(about: Sequence[Entry], kind: Kind) -> list[dict[str, int]]:
    return [json.loads(each.content) for each in about if each.kind is kind]


def _ruling(one: Ruling) -> wire.Ruling:
    of = one.proposal
    return wire.Ruling(
        verb=of.verb.value,
        pool=of.pool,
        node_id=of.node,
        instead_of=of.instead_of,
        reason=of.reason.value,
        sentence=of.sentence,
        evidence=dict(of.evidence),
        saves_micros_per_hour=of.saves_micros_per_hour,
        guard=one.guard,
        forbidden=one.sentence,
    )


def _action(one: Intent, saved: int | None) -> wire.ActionView:
    return wire.ActionView(
        verb=one.verb.value,
        pool=one.pool,
        node_id=one.node,
        outcome=one.outcome.value,
        sentence=one.sentence,
        waits=one.waits,
        rehearsed=one.rehearsed,
        calls=one.calls,
        begun=time(one.begun_micros),
        ended=time(one.ended_micros) if one.ended_micros else None,
        forecast_micros_per_hour=one.saves_micros_per_hour,
        saved_micros=saved,
    )
