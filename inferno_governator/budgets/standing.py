"""How a budget stands: spent, what it comes to at the current rate, when it runs out, and which one above it binds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inferno_governator.budgets.budget import Budget, Scope, above
from inferno_governator.budgets.periods import HOUR, Window, window
from inferno_governator.budgets.spending import SpendBook


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget at one minute. Money is in micro-dollars.

    ``rate_micros`` is what the scope spends in an hour, by the hour that runs and the one before. ``forecast_micros``
    is what the window will have cost when it ends (for a rolling one: what a window costs) if that goes on.
    ``runs_out_minute`` is None when it does not within the window. ``crossed`` is the highest threshold reached, in
    percent, 0 for none. ``largest`` is the part of the scope that spent most, with its micro-dollars.
    """

    budget: Budget
    window: Window
    spent_micros: int
    rate_micros: int
    forecast_micros: int
    runs_out_minute: int | None
    crossed: int
    largest: tuple[Scope, int] | None

    @property
    def left_micros(self) -> int:
        """What may still be spent; negative when more was spent than there is."""
        return self.budget.amount_micros - self.spent_micros


def standing(budget: Budget, book: SpendBook, now_minute: int) -> Standing:
    """How a budget stands at a minute."""
    over = window(budget.period, now_minute)
    parts = book.by_part(budget.scope, over.start_minute, over.end_minute)
    spent = sum(parts.values())
    rate = _rate(budget.scope, book, now_minute)
    if over.step:
        forecast = rate * (over.end_minute - over.start_minute) // HOUR
    else:
        forecast = spent + rate * (over.end_minute - now_minute) // HOUR
    return Standing(
        budget=budget,
        window=over,
        spent_micros=spent,
        rate_micros=rate,
        forecast_micros=forecast,
        runs_out_minute=_runs_out(budget, book, over, spent, rate, now_minute),
        crossed=max((each for each in budget.thresholds if spent * 100 >= budget.amount_micros * each), default=0),
        largest=max(parts.items(), key=lambda part: (part[1], part[0]), default=None),
    )


def chain(scope: Scope, standings: Iterable[Standing]) -> list[Standing]:
    """Every budget in which spending of a scope counts, the widest first."""
    known = {each.budget.name: each for each in standings}
    return [known[budget.name] for budget in above(scope, (each.budget for each in known.values()))]


def binding(scope: Scope, standings: Iterable[Standing]) -> Standing | None:
    """The budget that limits what a scope may still spend: of those its spending counts in, the one with the least
    left, the wider one where two are equal; None when nothing limits it."""
    return min(chain(scope, standings), key=lambda each: each.left_micros, default=None)


def _rate(scope: Scope, book: SpendBook, now_minute: int) -> int:
    """Micro-dollars an hour, over the whole minutes of this hour and the one before."""
    this_hour = now_minute // HOUR * HOUR
    minutes = now_minute - this_hour + HOUR
    return book.spent(scope, this_hour - HOUR, this_hour + HOUR) * HOUR // minutes


def _runs_out(budget: Budget, book: SpendBook, over: Window, spent: int, rate: int, now: int) -> int | None:
    left = budget.amount_micros - spent
    if left <= 0:
        return now
    if rate <= 0:
        return None
    if not over.step:
        at = now + left * HOUR // rate
        return at if at < over.end_minute else None
    # A rolling window lets go of its oldest step each time that it moves.
    at, start = over.end_minute, over.start_minute
    left_then = left - rate * (at - now) // HOUR
    for _ in range((over.end_minute - over.start_minute) // over.step):
        if left_then <= 0:
            return max(now, at + left_then * HOUR // rate)
        left_then += book.spent(budget.scope, start, start + over.step) - rate * over.step // HOUR
        at, start = at + over.step, start + over.step
    return at + left_then * HOUR // rate if left_then <= 0 else None
