"""What a budget is: an amount of money for a scope in a period.

Budgets form a tree by what they cover: one without a scope is the organisation's, one of a team lies below it, one of a
team's key below both; models and regions narrow a scope in the same way. Nobody names a parent: whatever covers all
that a budget covers stands above it, and spending counts in each of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

from inferno_governator.analysis.items import Item
from inferno_governator.budgets.periods import check_period
from inferno_runtime.errors import InvalidInput

THRESHOLDS = (50, 80, 100)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{0,256}")
_MOST_MICROS = 10**18


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Whose spending: every field that is not empty must be equal. Idleness, overhead and unused commitments belong to
    no team, key or model, so they count in budgets of the organisation and of regions alone."""

    team: str = ""
    key: str = ""
    model: str = ""
    region: str = ""

    def covers(self, other: Scope) -> bool:
        """True when all that is in ``other`` is in this one as well.

        >>> Scope().covers(Scope("search")), Scope("search").covers(Scope("ads", "ci"))
        (True, False)
        """
        return all(
            not getattr(self, each.name) or getattr(self, each.name) == getattr(other, each.name)
            for each in fields(self)
        )

    def __str__(self) -> str:
        said = [f"{each.name} {getattr(self, each.name)}" for each in fields(self) if getattr(self, each.name)]
        return ", ".join(said) or "everything"


def scope_of(item: Item) -> Scope:
    """The narrowest scope that an item belongs to."""
    return Scope(item.team, item.key, item.model, item.facts.region)


@dataclass(frozen=True, slots=True)
class Budget:
    """``amount_micros`` micro-dollars for a scope in a period (:mod:`inferno_governator.budgets.periods`).

    ``thresholds`` are percent of the amount, ascending; ``hard`` has the proxies refuse requests once it is spent.
    """

    name: str
    scope: Scope
    amount_micros: int
    period: str
    thresholds: tuple[int, ...] = THRESHOLDS
    hard: bool = False


def check(budget: Budget) -> Budget:
    """The budget, once nothing in it is impossible.

    Raises:
        InvalidInput: A field is impossible; the sentence names it.
    """
    if not _NAME.fullmatch(budget.name):
        raise _refusal("name", f"{budget.name[:80]!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    for each in fields(budget.scope):
        if not _TEXT.fullmatch(getattr(budget.scope, each.name)):
            raise _refusal(each.name, "it holds control characters or is longer than 256")
    if not 0 < budget.amount_micros <= _MOST_MICROS:
        raise _refusal("amount", f"{budget.amount_micros} micro-dollars is not between 1 and 10^18")
    check_period(budget.period)
    ascending = sorted(set(budget.thresholds))
    if (
        not 0 < len(ascending) <= 10
        or list(budget.thresholds) != ascending
        or not 1 <= ascending[0] <= ascending[-1] <= 1000
    ):
        raise _refusal("thresholds", "they are not 1 to 10 different percentages from 1 to 1000, the smallest first")
    if budget.hard and budget.scope.region:
        raise _refusal("hard", "a proxy refuses callers and models, and a region is neither")
    return budget


def above(scope: Scope, budgets: Iterable[Budget]) -> list[Budget]:
    """The budgets in which spending of a scope counts, the widest first."""
    found = [budget for budget in budgets if budget.scope.covers(scope)]
    return sorted(found, key=lambda budget: (_width(budget.scope), budget.name))


def _width(scope: Scope) -> int:
    return sum(bool(getattr(scope, each.name)) for each in fields(scope))


def _refusal(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"The budget is refused: {name}: {why}.", reason="BAD_BUDGET", fix="Correct it.", metadata={"field": name}
    )
