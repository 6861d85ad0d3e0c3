"""Intents in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Reason, Verb
from inferno_governator.store.decision_schema import IntentRow
from inferno_governator.store.schema import table

_INTENT = table(IntentRow)


async def next_number(connection: AsyncConnection) -> int:
    """The number of the intent that is written next; inside a transaction that writes."""
    return int((await connection.execute(select(func.coalesce(func.max(_INTENT.c.id), 0)))).scalar_one()) + 1


async def write(connection: AsyncConnection, intents: Sequence[Intent]) -> None:
    """Write new intents."""
    if intents:
        await connection.execute(_INTENT.insert(), [_row(each) for each in intents])


async def change(connection: AsyncConnection, before: Intent, after: Intent) -> bool:
    """Write what has become of an intent; False when somebody else has changed it since it was read as ``before``."""
    same = (
        _INTENT.c.id == before.number,
        _INTENT.c.outcome == before.outcome.value,
        _INTENT.c.calls == before.calls,
        _INTENT.c.waits == before.waits,
        _INTENT.c.ended_micros == before.ended_micros,
        _INTENT.c.measured_micros == before.measured_micros,
    )
    return (await connection.execute(update(_INTENT).where(*same).values(_row(after)))).rowcount == 1


async def since(connection: AsyncConnection, micros: int) -> list[Intent]:
    """Those under way, and those that ended since a time (Unix microseconds), in their order."""
    lately = or_(_INTENT.c.ended_micros == 0, _INTENT.c.ended_micros >= micros)
    found = await connection.execute(select(_INTENT).where(lately).order_by(_INTENT.c.id))
    return [_intent(row) for row in found.mappings()]


async def of_decision(connection: AsyncConnection, decision: int) -> list[Intent]:
    """Those of one decision, in their order."""
    found = await connection.execute(select(_INTENT).where(_INTENT.c.decision == decision).order_by(_INTENT.c.id))
    return [_intent(row) for row in found.mappings()]


async def unmeasured(connection: AsyncConnection, ended_before_micros: int) -> list[Intent]:
    """Those that are done, ended before a time (Unix microseconds) and are not measured yet."""
    wanted = (
        _INTENT.c.outcome == Outcome.DONE.value,
        _INTENT.c.rehearsed.is_(False),
        _INTENT.c.ended_micros > 0,
        _INTENT.c.ended_micros < ended_before_micros,
        _INTENT.c.measured_micros == 0,
    )
    found = await connection.execute(select(_INTENT).where(*wanted).order_by(_INTENT.c.id).limit(100))
    return [_intent(row) for row in found.mappings()]


def _row(intent: Intent) -> dict[str, Any]:
    row = {**asdict(intent), "verb": intent.verb.value, "reason": intent.reason.value, "outcome": intent.outcome.value}
    row["id"] = row.pop("number")
    return row


def _intent(row: Any) -> Intent:
    values = dict(row)
    return Intent(
        values.pop("id"),
        verb=Verb(values.pop("verb")),
        reason=Reason(values.pop("reason")),
        outcome=Outcome(values.pop("outcome")),
        **values,
    )
