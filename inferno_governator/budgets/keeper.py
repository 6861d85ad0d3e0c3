"""All budgets, of the settings file and of calls, and what was spent of them, kept up to date by small reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from inferno_governator.budgets.budget import Budget, check
from inferno_governator.budgets.periods import DAY, HOUR, window
from inferno_governator.budgets.spending import SpendBook, hours_from
from inferno_governator.budgets.standing import Standing, standing
from inferno_governator.store.store import Moment, Store
from inferno_runtime.clock import Clock
from inferno_runtime.errors import AlreadyExists, NotFound

# Hours before the one that runs that are read at each look: telemetry of a node that was cut off comes late.
_LATE_HOURS = 2


class BudgetKeeper:
    """Budgets and their standings.

    A look reads three hours; once an hour it reads the days of which hours are kept, and once a day everything that a
    window reaches. So spending that is told late counts within a minute, an hour or a day.
    """

    def __init__(self, store: Store, clock: Clock, settled: Iterable[Budget]) -> None:
        self._store = store
        self._clock = clock
        self._settled: Mapping[str, Budget] = {each.name: each for each in settled}
        self._book = SpendBook()
        # The first minute that the book holds, and when it was last read in whole and its hours were.
        self._known_from: int | None = None
        self._read_day = self._read_hour = -1
        self._replacements = 0
        self._looking = asyncio.Lock()

    async def budgets(self) -> list[Budget]:
        """Every budget by name.

        Raises:
            Unavailable: The store cannot be read now.
        """
        kept = {each.name: each for each in await self._store.budgets()}
        return [budget for _, budget in sorted({**kept, **self._settled}.items())]

    def is_settled(self, name: str) -> bool:
        """True for a budget of the settings file."""
        return name in self._settled

    async def set(self, budget: Budget) -> None:
        """Keep a budget, in the place of the one of that name; when this returns it is on disk.

        Raises:
            InvalidInput: It is impossible.
            AlreadyExists: The settings file has one of that name.
            Unavailable: It is not stored.
        """
        self._refuse_settled(check(budget).name)
        await self._store.keep_budget(budget)

    async def delete(self, name: str) -> None:
        """Forget a budget.

        Raises:
            NotFound: There is none of that name.
            AlreadyExists: It is the settings file's.
            Unavailable: It is not deleted.
        """
        self._refuse_settled(name)
        if not await self._store.drop_budget(name):
            raise NotFound(f"There is no budget {name!r}.", reason="NO_BUDGET", fix="See: inferno budget ls")

    async def standings(self) -> list[Standing]:
        """How every budget stands now, by name.

        Raises:
            Unavailable: The store cannot be read now.
        """
        budgets = await self.budgets()
        now = int(self._clock.wall() // 60)
        async with self._looking:
            await self._look(budgets, now)
            return [standing(budget, self._book, now) for budget in budgets]

    def _refuse_settled(self, name: str) -> None:
        if name in self._settled:
            raise AlreadyExists(
                f"The budget {name!r} is set in the settings file.",
                reason="BUDGET_IN_SETTINGS",
                fix="Change governator.budgets there and start the governator again, or choose another name.",
            )

    async def _look(self, budgets: Sequence[Budget], now: int) -> None:
        if not budgets:
            return
        reach = min(window(each.period, now).start_minute for each in budgets) // DAY * DAY
        hours, this_hour = hours_from(now), now // HOUR * HOUR
        replaced = self._store.replacements.value
        everything = (
            self._known_from is None
            or reach < self._known_from
            or now // DAY != self._read_day
            or replaced != self._replacements
        )
        async with self._store.moment() as moment:
            if everything:
                book = SpendBook()
                await _read(moment, book, reach, hours)
                book.fold(now)
                await _read_hours(moment, book, hours, this_hour + HOUR)
                self._book, self._known_from, self._read_day = book, min(reach, hours), now // DAY
                self._read_hour, self._replacements = now // HOUR, replaced
            elif now // HOUR != self._read_hour:
                await _read_hours(moment, self._book, hours, this_hour + HOUR)
                self._read_hour = now // HOUR
            else:
                await _read_hours(moment, self._book, this_hour - _LATE_HOURS * HOUR, this_hour + HOUR)


async def _read(moment: Moment, book: SpendBook, start: int, end: int) -> None:
    if start < end:
        book.replace(start, end, ())
        async for items in moment.items(start, end):
            book.add(items)


async def _read_hours(moment: Moment, book: SpendBook, start: int, end: int) -> None:
    """Hour by hour: of a whole day asked for at once, the store knows the day alone."""
    for hour in range(start, end, HOUR):
        await _read(moment, book, hour, hour + HOUR)
