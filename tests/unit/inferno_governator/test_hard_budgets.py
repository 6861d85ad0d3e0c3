from __future__ import annotations

import pytest

from inferno_governator.budgets.budget import Budget, Scope
from inferno_governator.budgets.hard import caps_of
from inferno_governator.budgets.periods import window
from inferno_governator.budgets.standing import Standing
from inferno_governator.caps import Cap

NOON = 29_000_160


def standing(spent: int, *, hard: bool = True, period: str = "day") -> Standing:
    budget = Budget("search-day", Scope("search", model="m"), 100, period, hard=hard)
    return Standing(budget, window(period, NOON), spent, 0, 0, None, 0, None)


@pytest.mark.parametrize(("spent", "hard", "capped"), [(99, True, 0), (100, True, 1), (101, True, 1), (101, False, 0)])
def test_a_hard_budget_that_is_spent_is_a_cap(spent: int, hard: bool, capped: int) -> None:
    assert len(caps_of([standing(spent, hard=hard)])) == capped


def test_a_cap_ends_with_its_budgets_window() -> None:
    end = window("day", NOON).end_minute * 60
    assert caps_of([standing(100)]) == [Cap("search", "", "m", end, "budget search-day is spent")]


def test_a_rolling_budgets_cap_holds_until_somebody_has_looked_again() -> None:
    (cap,) = caps_of([standing(100, period="24h")])
    assert cap.until == window("24h", NOON).end_minute * 60 + 300
