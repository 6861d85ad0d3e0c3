"""Hard budgets that are spent become caps, which the proxies carry out."""

from __future__ import annotations

from collections.abc import Iterable

from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.budgets.standing import Standing
from inferno_governator.caps import Cap, Caps
from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError

_LOG = logs.get("budgets")
# Seconds between two looks: what is spent beyond a hard budget is what is spent in this time, and while telemetry is on
# its way.
_EVERY = 10.0
# A rolling window moves on and may be spent again: its cap holds until somebody has looked.
_OVERLAP_SECONDS = 300


def caps_of(standings: Iterable[Standing]) -> list[Cap]:
    """A cap for each hard budget that is spent, until its window ends."""
    return [
        Cap(
            each.budget.scope.team,
            each.budget.scope.key,
            each.budget.scope.model,
            each.window.end_minute * 60 + (_OVERLAP_SECONDS if each.window.step else 0),
            f"budget {each.budget.name} is spent",
        )
        for each in standings
        if each.budget.hard and each.left_micros <= 0
    ]


async def enforce(budgets: BudgetKeeper, caps: Caps, clock: Clock) -> None:
    """Look how hard budgets stand, for ever; while the store cannot be read, what holds goes on."""
    while True:
        try:
            hard = any(each.hard for each in await budgets.budgets())
            caps.set(caps_of(await budgets.standings()) if hard else [])
        except InfernoError as error:
            if not error.temporary:
                raise
            _LOG.warning("hard budgets are not looked at now", error=str(error))
        await clock.sleep(_EVERY)
