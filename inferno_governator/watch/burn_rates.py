"""How fast a model's error budget burns, over several windows.

An objective lets a share of requests be bad in a period (its error budget). The burn rate is the share that is bad,
over the share that may be: at 1 the budget lasts the period exactly. An alert needs a long window, so that it is worth
waking somebody for, and a short one, so that it ends soon after the trouble does (Google, The Site Reliability
Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts": of a 30-day budget 2 % in 1 h, 5 % in 6 h, 10 % in 3 d).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inferno_governator.alerts.alert import Severity
from inferno_governator.watch.objective import Objective

_HOUR = 60
_DAY = 1440
# Fewer bad requests than this in the long window are chance.
_FEWEST_BAD = 5


class Outcome(NamedTuple):
    """What became of a model's requests in a stretch, in minutes; the kinds of bad ones add up."""

    minute: int
    minutes: int
    requests: int
    failed: int
    slow: int
    queued: int

    @property
    def bad(self) -> int:
        """Requests that the objective calls bad."""
        return min(self.requests, self.failed + self.slow + self.queued)


@dataclass(frozen=True, slots=True)
class Rule:
    """Of the budget of a period, ``spent`` may burn within ``long_minutes``; ``short_minutes`` must burn as fast."""

    long_minutes: int
    short_minutes: int
    spent: float
    severity: Severity

    def threshold(self, days: int) -> float:
        """The burn rate at which it holds.

        >>> [round(rule.threshold(30), 1) for rule in RULES]
        [14.4, 6.0, 1.0]
        """
        return self.spent * days * _DAY / self.long_minutes


RULES = (
    Rule(_HOUR, 5, 0.02, Severity.CRITICAL),
    Rule(6 * _HOUR, 30, 0.05, Severity.CRITICAL),
    Rule(3 * _DAY, 6 * _HOUR, 0.10, Severity.WARNING),
)
LONGEST = max(rule.long_minutes for rule in RULES)


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast it burns in a rule's windows, and what the long one holds."""

    rule: Rule
    threshold: float
    long_rate: float
    short_rate: float
    long: Outcome

    @property
    def fires(self) -> bool:
        """True when both windows burn faster than the rule allows."""
        return min(self.long_rate, self.short_rate) > self.threshold and self.long.bad >= _FEWEST_BAD


def burns(objective: Objective, outcomes: Iterable[Outcome], now_minute: int) -> list[Burn]:
    """How fast each rule's windows burn that end before a minute."""
    known = list(outcomes)
    found = []
    for rule in RULES:
        long = _within(known, now_minute - rule.long_minutes, now_minute)
        short = _within(known, now_minute - rule.short_minutes, now_minute)
        rates = [_rate(objective, each) for each in (long, short)]
        found.append(Burn(rule, rule.threshold(objective.days), rates[0], rates[1], long))
    return found


def worst(found: Iterable[Burn]) -> Burn | None:
    """The first burn that fires, the fastest windows first."""
    return next((each for each in found if each.fires), None)


def _within(outcomes: Iterable[Outcome], start: int, end: int) -> Outcome:
    """What became of requests in the stretches that begin within a window."""
    inside = [each for each in outcomes if start <= each.minute < end]
    sums = [sum(values) for values in zip(*(each[2:] for each in inside), strict=True)] or [0] * 4
    return Outcome(start, end - start, *sums)


def _rate(objective: Objective, outcome: Outcome) -> float:
    return outcome.bad / outcome.requests / (1 - objective.share) if outcome.requests else 0.0


def reasons(outcome: Outcome) -> Mapping[str, int]:
    """How many requests were bad for which reason."""
    return {"failed": outcome.failed, "slow": outcome.slow, "queued": outcome.queued}
