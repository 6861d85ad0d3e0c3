"""Budgets in the settings file: ``governator.budgets``, by name."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

import pydantic

from inferno_governator.budgets.budget import THRESHOLDS, Budget, Scope, check
from inferno_governator.money import MICROS
from inferno_runtime.errors import InvalidInput
from inferno_runtime.settings import option


class BudgetSettings(pydantic.BaseModel):
    """What may be spent in a period; an empty ``team``, ``key``, ``model`` or ``region`` does not narrow it."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    amount: Annotated[Decimal, pydantic.Field(decimal_places=6)] = option(help="US dollars for each period.", gt=0)
    period: str = option("month", help="day, week or month (UTC), or a rolling one: 1h to 72h, 1d to 366d.")
    team: str = option("", help="Only what this team spends.")
    key: str = option("", help="Only what this API key spends.")
    model: str = option("", help="Only what this model costs.")
    region: str = option("", help="Only what nodes of this region cost.")
    thresholds: tuple[int, ...] = option(THRESHOLDS, help="Percent of the amount at which an alert is given.")
    hard: bool = option(False, help="Let the proxies refuse the scope's requests once it is spent.")

    def budget(self, name: str) -> Budget:
        """The same as a plain value.

        Raises:
            InvalidInput: Something in it is impossible.
        """
        scope = Scope(self.team, self.key, self.model, self.region)
        amount = int(self.amount * MICROS)
        return check(Budget(name, scope, amount, self.period, self.thresholds, self.hard))


def checked(budgets: Mapping[str, BudgetSettings]) -> Mapping[str, BudgetSettings]:
    """The budgets, once each is possible.

    Raises:
        ValueError: One is not; pydantic makes the sentence of it.
    """
    for name, each in budgets.items():
        try:
            each.budget(name)
        except InvalidInput as error:
            raise ValueError(f"{name!r}: {error.message}") from error
    return budgets
