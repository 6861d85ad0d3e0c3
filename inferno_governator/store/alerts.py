"""Alerts in the store, and what each receiver was told of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.alerts.alert import Alert, Finding, Kind, Severity, Told
from inferno_governator.store.alert_schema import AlertRow, AlertTold
from inferno_governator.store.schema import table

_ALERT, _TOLD = table(AlertRow), table(AlertTold)
_KEY = ("fingerprint", "start_micros")
# What is over is shown to the last of these.
_MOST = 1_000


async def write(connection: AsyncConnection, alerts: Sequence[Alert]) -> None:
    """Keep alerts as they are now."""
    for alert in alerts:
        row = _row(alert)
        insert = _insert(connection, _ALERT).values(row)
        news = {name: value for name, value in row.items() if name not in _KEY}
        await connection.execute(
            insert.on_conflict_do_update(index_elements=[_ALERT.c[name] for name in _KEY], set_=news)
        )


async def read(connection: AsyncConnection) -> list[Alert]:
    """What lasts, and the newest of what is over, the newest first."""
    lasting = await connection.execute(select(_ALERT).where(_ALERT.c.end_micros.is_(None)))
    over = await connection.execute(
        select(_ALERT).where(_ALERT.c.end_micros.is_not(None)).order_by(_ALERT.c.end_micros.desc()).limit(_MOST)
    )
    found = [_alert(row) for result in (lasting, over) for row in result.mappings()]
    return sorted(found, key=lambda alert: (-alert.start_micros, alert.finding.fingerprint))


async def told(connection: AsyncConnection, receiver: str) -> dict[tuple[str, int], Told]:
    """What a receiver was told last of each alert."""
    found = await connection.execute(select(_TOLD).where(_TOLD.c.receiver == receiver))
    return {
        (row["fingerprint"], row["start_micros"]): Told(Severity(row["severity"]), bool(row["ended"]))
        for row in found.mappings()
    }


async def note_told(connection: AsyncConnection, receiver: str, alerts: Sequence[Alert], now_micros: int) -> None:
    """Keep that a receiver was told of alerts as they are."""
    for alert in alerts:
        key = {"receiver": receiver, "fingerprint": alert.finding.fingerprint, "start_micros": alert.start_micros}
        news = {
            "severity": alert.finding.severity.value,
            "ended": alert.end_micros is not None,
            "told_micros": now_micros,
        }
        insert = _insert(connection, _TOLD).values({**key, **news})
        await connection.execute(
            insert.on_conflict_do_update(index_elements=[_TOLD.c[name] for name in key], set_=news)
        )


def _insert(connection: AsyncConnection, target: Any) -> Any:
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(target)


def _row(alert: Alert) -> dict[str, Any]:
    found = alert.finding
    return {
        "fingerprint": found.fingerprint,
        "start_micros": alert.start_micros,
        "end_micros": alert.end_micros,
        "kind": found.kind.value,
        "subject": found.subject,
        "severity": found.severity.value,
        "cause": found.cause,
        "next_step": found.next_step,
        "evidence": json.dumps(dict(found.evidence)),
        "silenced_until_micros": alert.silenced_until_micros,
    }


def _alert(row: Any) -> Alert:
    finding = Finding(
        Kind(row["kind"]),
        row["subject"],
        Severity(row["severity"]),
        row["cause"],
        row["next_step"],
        json.loads(row["evidence"]),
    )
    return Alert(finding, row["start_micros"], row["end_micros"], row["silenced_until_micros"])
