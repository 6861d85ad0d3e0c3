"""Alerts as receivers read them: our own JSON, and what Alertmanager's API v2 takes.

Source of the latter: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml (postableAlerts).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from inferno_governator.alerts.alert import Alert


def webhook(alerts: Sequence[Alert]) -> dict[str, Any]:
    """A message of several alerts; its form is documented in docs/alerts.md."""
    return {"version": 1, "alerts": [_document(each) for each in alerts]}


def _document(alert: Alert) -> dict[str, Any]:
    found = alert.finding
    return {
        "fingerprint": found.fingerprint,
        "status": "firing" if alert.end_micros is None else "resolved",
        "kind": found.kind.value,
        "subject": found.subject,
        "severity": found.severity.name.lower(),
        "cause": found.cause,
        "evidence": dict(found.evidence),
        "next": found.next_step,
        "started_at": _time(alert.start_micros),
        "ended_at": None if alert.end_micros is None else _time(alert.end_micros),
    }


def alertmanager(alerts: Sequence[Alert], now_micros: int, again_seconds: float) -> list[dict[str, Any]]:
    """Alerts for ``POST /api/v2/alerts``.

    One that lasts is said to end some time after it will have been posted again, as Prometheus does: if we fall
    silent, Alertmanager ends it. Labels tell alerts apart there: one that becomes more severe is another one, and the
    first ends by itself.
    """
    lasts = _time(now_micros, seconds=4 * again_seconds)
    return [
        {
            "labels": {
                "alertname": f"Inferno{each.finding.kind.capitalize()}",
                "kind": each.finding.kind.value,
                "subject": each.finding.subject,
                "severity": each.finding.severity.name.lower(),
                "fingerprint": each.finding.fingerprint,
            },
            "annotations": {
                "summary": each.finding.cause,
                "next": each.finding.next_step,
                **{f"evidence_{_word(name)}": value for name, value in each.finding.evidence.items()},
            },
            "startsAt": _time(each.start_micros),
            "endsAt": lasts if each.end_micros is None else _time(each.end_micros),
        }
        for each in alerts
    ]


def _word(name: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)


def _time(micros: int, seconds: float = 0.0) -> str:
    return (datetime.fromtimestamp(micros / 1_000_000, UTC) + timedelta(seconds=seconds)).isoformat()
