"""What was spent by whom, in hours and days: small sums that a look every minute can add up.

The hours of the last four days are kept apart, older days whole. A look reads again what may still change (telemetry
comes late) and puts it in the place of what was known, so nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inferno_governator.analysis.items import Item
from inferno_governator.budgets.budget import Scope, scope_of
from inferno_governator.budgets.periods import DAY, HOUR

# Whole days of which hours are kept: as many as the longest window of hours reaches back, and today.
_DAYS_OF_HOURS = 4

Spent = dict[Scope, int]


class SpendBook:
    """Micro-dollars by scope in each hour or day, keyed by its first minute."""

    def __init__(self) -> None:
        self._spent: dict[int, Spent] = {}

    def replace(self, start_minute: int, end_minute: int, items: Iterable[Item]) -> None:
        """Forget what is known of a stretch, and take these items, none longer than its hour or day, in its place.

        Args:
            start_minute: First minute, at the start of an hour or day.
            end_minute: The minute after the last.
            items: All that was used in the stretch.
        """
        for at in [at for at in self._spent if start_minute <= at < end_minute]:
            del self._spent[at]
        self.add(items)

    def add(self, items: Iterable[Item]) -> None:
        """Add items of a stretch that :meth:`replace` has emptied."""
        for item in items:
            length = DAY if item.minutes > HOUR else HOUR
            spent = self._spent.setdefault(item.start_minute // length * length, {})
            scope = scope_of(item)
            spent[scope] = spent.get(scope, 0) + item.cost_micros

    def fold(self, now_minute: int) -> None:
        """Add up the hours of days that are long over."""
        edge = hours_from(now_minute)
        for at in [at for at in self._spent if at < edge and at % DAY]:
            day = self._spent.setdefault(at // DAY * DAY, {})
            for scope, cost in self._spent.pop(at).items():
                day[scope] = day.get(scope, 0) + cost

    def spent(self, scope: Scope, start_minute: int, end_minute: int) -> int:
        """Micro-dollars of a scope from one minute until before another, both at the start of an hour or day."""
        return sum(self.by_part(scope, start_minute, end_minute).values())

    def by_part(self, scope: Scope, start_minute: int, end_minute: int) -> Mapping[Scope, int]:
        """The same, by the narrowest scopes it is made of."""
        parts: Spent = {}
        for at, spent in self._spent.items():
            if start_minute <= at < end_minute:
                for part, cost in spent.items():
                    if scope.covers(part):
                        parts[part] = parts.get(part, 0) + cost
        return parts


def hours_from(now_minute: int) -> int:
    """The minute from which hours are kept apart."""
    return now_minute // DAY * DAY - (_DAYS_OF_HOURS - 1) * DAY
