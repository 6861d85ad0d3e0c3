"""Objectives and alerts, as the governator keeps them and people read them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import governance_service_pb2 as wire
from inferno.governance.v1.watch_pb2 import Alert, AlertSeverity, Watch
from inferno_cli import governing, output, period
from inferno_cli.asking import Asked
from inferno_cli.output import Column
from inferno_runtime.clock import SystemClock

_WHAT = "alerts"
_FOLLOW_SECONDS = 5.0


def ask_alerts(asked: Asked, *, ended: bool) -> list[Alert]:
    """Alerts that last, the newest first; with ``ended`` also those that are over.

    Raises:
        InfernoError: The governator does not answer, or refuses.
    """
    request = wire.ListAlertsRequest(ended=ended)
    answer = governing.ask(asked, lambda stub: stub.ListAlerts(request, timeout=asked.timeout), _WHAT)
    return list(answer.alerts)


def document(alert: Alert) -> dict[str, Any]:
    """An alert as JSON values."""
    return {
        "fingerprint": alert.fingerprint,
        "kind": alert.kind,
        "subject": alert.subject,
        "severity": _severity(alert),
        "cause": alert.cause,
        "evidence": dict(sorted(alert.evidence.items())),
        "next": alert.next_step,
        "started_at": alert.start_time.ToJsonString(),
        "ended_at": alert.end_time.ToJsonString() if alert.HasField("end_time") else None,
        "silenced_until": alert.silenced_until.ToJsonString() if alert.HasField("silenced_until") else None,
    }


def show_alerts(asked: Asked, *, ended: bool) -> None:
    """Print alerts, as paragraphs or as JSON."""
    found = ask_alerts(asked, ended=ended)
    if asked.form == "json":
        output.print_json([document(each) for each in found])
    elif not found:
        output.print_line("No alert lasts.")
    else:
        output.print_line("\n\n".join(_paragraph(each) for each in found))


def follow(asked: Asked) -> None:
    """Print each alert that lasts, and from then on each that begins, becomes more or less severe, or ends."""
    shown: dict[tuple[str, int], Alert] = {}
    while True:
        for alert in _news(shown, ask_alerts(asked, ended=True)):
            output.print_line(output.one_line(document(alert)) if asked.form == "json" else _paragraph(alert) + "\n")
        asyncio.run(SystemClock().sleep(_FOLLOW_SECONDS))


def _news(shown: dict[tuple[str, int], Alert], found: Iterable[Alert]) -> Iterator[Alert]:
    first = not shown
    for alert in sorted(found, key=lambda each: each.start_time.ToMicroseconds()):
        key = (alert.fingerprint, alert.start_time.ToMicroseconds())
        known = shown.get(key)
        shown[key] = alert
        over = alert.HasField("end_time")
        if (
            (known is None and not (first and over))
            or (known is not None and known.HasField("end_time") != over)
            or (known is not None and known.severity != alert.severity)
        ):
            yield alert


def silence(asked: Asked, fingerprint: str, holds: str | None) -> None:
    """Silence an alert, or lift that, and say so."""
    seconds = int(period.duration(holds).total_seconds()) if holds else 0
    request = wire.AcknowledgeAlertRequest(fingerprint=fingerprint, silence_seconds=seconds)
    answer = governing.ask(asked, lambda stub: stub.AcknowledgeAlert(request, timeout=asked.timeout), _WHAT)
    alert = answer.alert
    until = f"silent until {_when(alert.silenced_until)}" if alert.HasField("silenced_until") else "told again"
    output.say(f"{alert.kind} {alert.subject}: {until}.")


def show_watches(asked: Asked) -> None:
    """Print objectives with their burn rates, as a table or as JSON."""
    request = wire.ListWatchesRequest()
    answer = governing.ask(asked, lambda stub: stub.ListWatches(request, timeout=asked.timeout), "objectives")
    rows = [row for watch in answer.watches for row in _rows(watch)]
    if asked.form == "json":
        output.print_json(rows)
    elif not rows:
        output.print_line("No objective is watched yet. Set one with: inferno watch objective set MODEL --good 99.5")
    else:
        output.print_table(_COLUMNS, rows)


def _rows(watch: Watch) -> Iterator[dict[str, Any]]:
    for each in watch.burn_rates:
        yield {
            "model": watch.model,
            "share": watch.share,
            "latency_micros": watch.latency_micros or None,
            "queue_micros": watch.queue_micros or None,
            "days": watch.days,
            "long_minutes": each.long_minutes,
            "long_rate": each.long_rate,
            "short_minutes": each.short_minutes,
            "short_rate": each.short_rate,
            "threshold": each.threshold,
            "requests": each.requests,
            "bad": each.bad,
            "burns": min(each.long_rate, each.short_rate) > each.threshold,
        }


def _length(minutes: int) -> str:
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def _rate(rate: float) -> str:
    return f"{rate:.2f}"


_COLUMNS = (
    Column("model", "MODEL"),
    Column("share", "GOOD", show=lambda share: f"{share:.4g}", right=True),
    Column(
        "latency_micros", "WITHIN ms", show=lambda micros: "-" if micros is None else f"{micros / 1000:g}", right=True
    ),
    Column("long_minutes", "WINDOW", show=_length, right=True),
    Column("long_rate", "BURN", show=_rate, right=True),
    Column("short_minutes", "SHORT", show=_length, right=True),
    Column("short_rate", "BURN", show=_rate, right=True),
    Column("threshold", "ALERT ABOVE", show=_rate, right=True),
    Column("requests", "REQUESTS", right=True),
    Column("bad", "BAD", right=True),
    Column("burns", "", show=lambda burns: "burns" if burns else "", colour=lambda burns: "red" if burns else None),
)


def _paragraph(alert: Alert) -> str:
    ended = f", over since {_when(alert.end_time)}" if alert.HasField("end_time") else ""
    silent = f", silent until {_when(alert.silenced_until)}" if alert.HasField("silenced_until") else ""
    head = f"{_severity(alert).upper()} {alert.kind} {alert.subject}  since {_when(alert.start_time)}{ended}{silent}"
    figures = "; ".join(f"{name} {value}" for name, value in sorted(alert.evidence.items()))
    return f"{head}\n  {alert.cause}\n  {figures}\n  next: {alert.next_step}    [{alert.fingerprint}]"


def _severity(alert: Alert) -> str:
    return AlertSeverity.Name(alert.severity).removeprefix("ALERT_SEVERITY_").lower()


def _when(moment: Timestamp) -> str:
    return moment.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M UTC")
