"""Which alerts begin, change and end by what a look found, and what a receiver has to be told. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from inferno_governator.alerts.alert import Alert, Finding, Kind, Severity, Told

# What is not found for so long has ended: what comes and goes within it is one alert.
HOLD_MICROS = 5 * 60 * 1_000_000
# Alerts in one message; the rest follows in the next.
MOST = 100
Key = tuple[str, int]


class AlertBook:
    """The alerts that last. It is given every finding of each look, and says what changed."""

    def __init__(self, lasting: Iterable[Alert], now_micros: int) -> None:
        self._lasting = {each.finding.fingerprint: each for each in lasting}
        # When each was found last; what was open before a restart has as long as any other to be found again.
        self._seen = dict.fromkeys(self._lasting, now_micros)

    @property
    def lasting(self) -> list[Alert]:
        """What lasts, the most severe first, the oldest first among equals."""
        return sorted(self._lasting.values(), key=lambda each: (-each.finding.severity, each.start_micros, each.key))

    def look(self, findings: Iterable[Finding], looked_at: Collection[Kind], now_micros: int) -> list[Alert]:
        """Take what a look found; returns the alerts that began, became more or less severe, or ended.

        Args:
            findings: All that was found of the kinds that were looked at.
            looked_at: Kinds of which the look could tell: what could not be looked at has not ended.
            now_micros: When it looked.
        """
        changed = []
        for finding in findings:
            known = self._lasting.get(finding.fingerprint)
            made = replace(known, finding=finding) if known else Alert(finding, now_micros)
            self._seen[finding.fingerprint] = now_micros
            self._lasting[finding.fingerprint] = made
            if known is None or known.finding.severity != finding.severity:
                changed.append(made)
        for fingerprint, alert in list(self._lasting.items()):
            if alert.finding.kind in looked_at and now_micros - self._seen[fingerprint] >= HOLD_MICROS:
                del self._lasting[fingerprint], self._seen[fingerprint]
                changed.append(replace(alert, end_micros=now_micros))
        return changed

    def silence(self, fingerprint: str, until_micros: int) -> Alert | None:
        """Tell nobody of an alert before a time; None when no such alert lasts."""
        alert = self._lasting.get(fingerprint)
        if alert is None:
            return None
        self._lasting[fingerprint] = silenced = replace(alert, silenced_until_micros=until_micros)
        return silenced


def untold(
    alerts: Iterable[Alert], told: Mapping[Key, Told], least: Severity, kinds: Collection[Kind], now_micros: int
) -> list[Alert]:
    """What a receiver has to be told now: alerts that began or became more severe, and the end of those it knows.

    At most :data:`MOST`, the most severe first; the rest is due still. Nothing is said of an alert that was over before
    the receiver heard of it.
    """
    due = []
    for alert in alerts:
        known = told.get(alert.key)
        if alert.end_micros is not None:
            wanted = known is not None and not known.ended
        else:
            silent = now_micros < alert.silenced_until_micros
            fits = alert.finding.severity >= least and (not kinds or alert.finding.kind in kinds)
            wanted = fits and not silent and (known is None or known.severity < alert.finding.severity)
        if wanted:
            due.append(alert)
    return sorted(due, key=lambda each: (-each.finding.severity, each.start_micros, each.key))[:MOST]
