"""Spend per request, stretch by stretch: of the whole fleet, and of each model's and team's own work."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from inferno_governator.alerts.alert import Finding, Kind, Severity
from inferno_governator.analysis.change import Change
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.money import dollars
from inferno_governator.watch.anomalies import STRETCH, Anomaly, SpendDetector, Stretch

FLEET = "the fleet"
# Names come from outside: beyond so many models and teams the rest is not watched by itself.
_MOST = 1_000
# Twice the usual is worth waking somebody for.
_CRITICAL = 2.0


class SpendWatch:
    """Takes each stretch of ten minutes once, in order, and knows what is out of the ordinary since."""

    def __init__(self) -> None:
        self._detectors: dict[str, SpendDetector] = {}
        self.anomalies: dict[str, Anomaly] = {}

    def see(self, minute: int, items: Iterable[Item]) -> None:
        """Judge the stretch that begins at a minute by all that was used in it."""
        sums: dict[str, list[int]] = {}
        for item in items:
            for subject in _subjects(item):
                if subject in sums or len(sums) < _MOST:
                    of = sums.setdefault(subject, [0, 0, 0])
                    of[0] += item.cost_micros
                    of[1] += item.requests
                    of[2] += item.paid_micros
        self.anomalies = {}
        for subject, of in sums.items():
            detector = self._detectors.get(subject)
            if detector is None:
                if len(self._detectors) >= _MOST:
                    continue
                detector = self._detectors[subject] = SpendDetector(nodes=subject == FLEET)
            found = detector.see(Stretch(minute, *of))
            if found:
                self.anomalies[subject] = found


def concerns(subject: str, item: Item) -> bool:
    """True for an item that counts in a subject."""
    return subject in _subjects(item)


def _subjects(item: Item) -> list[str]:
    found = [FLEET]
    if item.purpose is Purpose.WORK:
        found.append(f"model {item.model}")
        if item.team:
            found.append(f"team {item.team}")
    return found


def finding(subject: str, anomaly: Anomaly, change: Change, came: Iterable[str]) -> Finding:
    """What is said of spend that is out of the ordinary.

    Args:
        subject: Of whom it is.
        anomaly: What was found.
        change: What moved between the usual stretch and this one, exactly.
        came: Nodes that the usual stretch did not have.
    """
    names = sorted(came)
    parts = {
        "price moved": change.price_micros,
        "demand moved": change.demand_micros,
        "utilisation moved": change.utilization_micros,
        "mix moved": change.mix_micros,
    }
    leading = max(parts, key=lambda name: parts[name])
    since = datetime.fromtimestamp(anomaly.stretch.minute * 60, UTC).strftime("%H:%M UTC")
    new = f"; {len(names)} nodes are new: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" if names else ""
    evidence = {
        "times usual": f"{anomaly.times:.2f}",
        "spent in 10 min": dollars(anomaly.stretch.cost_micros),
        "usual for this demand": dollars(anomaly.usual_micros),
        "requests": str(anomaly.stretch.requests),
        "compared with": datetime.fromtimestamp(anomaly.usual_minute * 60, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **{name: dollars(value, sign=True) for name, value in parts.items()},
    }
    if change.utilization_before is not None and change.utilization_after is not None:
        evidence["utilisation"] = f"{float(change.utilization_before):.0%} to {float(change.utilization_after):.0%}"
    return Finding(
        Kind.SPEND,
        subject,
        Severity.CRITICAL if anomaly.times >= _CRITICAL else Severity.WARNING,
        f"Spend per request of {subject} is {anomaly.times:.1f} times the usual since {since}: {leading} "
        f"({dollars(parts[leading], sign=True)} in {STRETCH} min){new}.",
        "inferno cost --since 30m",
        evidence,
    )
