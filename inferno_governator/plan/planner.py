"""Answers questions about fleets: fills in what the mesh shows and what machines cost, and lets the optimiser run
beside the event loop. A thin loop around judgements that are pure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

from inferno_governator.analysis.items import Item
from inferno_governator.plan import comparison, growth, offers, seen
from inferno_governator.plan.comparison import Row
from inferno_governator.plan.growth import Expected
from inferno_governator.plan.mix import Plan, plan
from inferno_governator.plan.plan_wire import Asked
from inferno_governator.plan.question import Machine, Question
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.store.store import Store
from inferno_governator.watch.objective_keeper import ObjectiveKeeper
from inferno_runtime.clock import Clock
from inferno_runtime.errors import InfernoError, InvalidInput

T = TypeVar("T")
# Minutes of the past whose busiest stretch is planned for, and days whose busiest hours show how demand strays.
_HOUR, _DAY, _DAYS = 60, 1440, 28
_COVERAGE, _MONTHS, _MOST_MONTHS = 0.9, 6, 36
# For all fleets of one answer: a governator that is told to stop waits for the one that is being solved.
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Filled:
    """A whole question, the days of its prices, and what has to be known of the answer."""

    question: Question
    days: Mapping[Machine, date]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """What a month needs; ``changes`` are counts by machine against the month before. ``refusal``: why there is no
    fleet."""

    month: int
    demand: Expected
    plan: Plan | None
    changes: tuple[tuple[Machine, int], ...]
    refusal: str = ""


class Planner:
    """Plans for one governator; ``objectives`` keeps what models promise."""

    def __init__(self, store: Store, prices: PriceKeeper, clock: Clock, objectives: ObjectiveKeeper) -> None:
        self._store = store
        self._prices = prices
        self._clock = clock
        self._objectives = objectives
        # One at a time: two would only share the processor that telemetry needs as well.
        self._turn = asyncio.Lock()

    async def plan(self, asked: Asked) -> tuple[Filled, Plan, float]:
        """The cheapest fleet, and the seconds that it took.

        Raises:
            InvalidInput: The question is not valid, or no fleet answers it.
            TimedOut: Nothing was found in time.
            Unavailable: The store cannot be read now.
        """
        filled = await self.fill(asked)
        start = self._clock.monotonic()
        try:
            found = await self._beside(lambda: plan(filled.question, asked.gap, asked.seconds))
        except InvalidInput as error:
            # What was left out may be what would have served it.
            raise InvalidInput(
                " ".join((error.message, *filled.notes)), reason=error.reason, fix=error.fix, metadata=error.metadata
            ) from error
        return filled, found, self._clock.monotonic() - start

    async def compare(self, asked: Asked, *, by_region: bool) -> tuple[Filled, list[Row]]:
        """Fleets within each cloud or region. Raises as :meth:`plan`, for what is wrong with the question itself."""
        filled = await self.fill(replace(asked, choice=replace(asked.choice, spot=True)))
        count = len(comparison.choices(filled.question.machines, by_region=by_region))
        seconds = min(asked.seconds, _SECONDS / count)
        rows = await self._beside(
            lambda: comparison.compare(filled.question, by_region=by_region, gap=asked.gap, seconds=seconds)
        )
        return filled, rows

    async def grow(
        self, asked: Asked, percent: float, months: int, coverage: float, days: Sequence[float]
    ) -> tuple[Filled, list[Month]]:
        """What growth needs, month by month. Raises as :meth:`plan`.

        Args:
            asked: The question, with the demand of now.
            percent: Growth in a month.
            months: Months ahead; 0: six.
            coverage: Of the intervals; 0: nine in ten.
            days: Busiest hours of past days, in requests a second; empty: what the mesh has seen.
        """
        if not -100 < percent <= 1000 or months > _MOST_MONTHS:
            raise InvalidInput(
                f"Growth of {percent:g} % a month over {months} months cannot be planned.",
                reason="BAD_GROWTH",
                fix=f"Give more than -100 % and at most 1000 %, and at most {_MOST_MONTHS} months.",
            )
        filled = await self.fill(asked)
        history = tuple(days) or seen.busiest_hours(await self._hours())
        now = sum(each.rate for each in filled.question.demands)
        step = (1 + percent / 100) ** (1 / growth.DAYS) - 1
        ahead = [
            Expected(now, now, now),
            *(
                growth.expected(history, round(month * growth.DAYS), step, coverage or _COVERAGE, now)
                for month in range(1, (months or _MONTHS) + 1)
            ),
        ]
        return filled, await self._beside(
            lambda: _months(filled.question, ahead, asked.gap, min(asked.seconds, _SECONDS / len(ahead)))
        )

    async def fill(self, asked: Asked) -> Filled:
        """The whole question.

        Raises:
            InvalidInput: There is no demand, or no machine that may be rented.
            Unavailable: The store cannot be read now.
        """
        keeper = self._prices
        nodes, _ = await keeper.nodes()
        promised = {each.model: each for each in await self._objectives.objectives()}
        demands = asked.demands or seen.demands(await self._minutes(), promised)
        if not demands:
            raise InvalidInput(
                "There is nothing to plan for: the mesh has served nothing in the last hour.",
                reason="NO_DEMAND",
                fix="Say which models are to be served, and how often (docs/plan.md).",
            )
        given = {(curve.model, curve.gpu) for curve in asked.curves}
        measured = seen.curves(await self._store.capacities("", ""), nodes)
        curves = (*asked.curves, *(each for each in measured if (each.model, each.gpu) not in given))
        listed = offers.listed(keeper.book, keeper.minute(), keeper.today(), keeper.rules, keeper.overlay, asked.choice)
        # What runs now can be rented again, also where no price list has it; but then not twice.
        known = {(each.cloud, each.region, each.name, each.spot) for each in listed.machines}
        own = [each for each in seen.machines(nodes) if _key(each) not in known] if not asked.demands else []
        machines = (*asked.machines, *own, *listed.machines)
        if not machines:
            raise offers.none_left(listed.stale, keeper.rules)
        notes: tuple[str, ...] = ()
        if listed.stale:
            notes = (
                f"{listed.stale} offers are left out: their prices are older than {keeper.rules.max_age_days} days.",
            )
        return Filled(Question(demands, machines, curves, asked.limits), listed.days, notes)

    async def _minutes(self) -> list[Item]:
        end = self._prices.minute()
        # Half an hour at a time: of a whole hour asked for at once, the store knows the hour alone.
        return [item for start in (end - _HOUR, end - _HOUR // 2) for item in await self._items(start, _HOUR // 2)]

    async def _hours(self) -> list[Item]:
        today = self._prices.minute() // _DAY * _DAY
        # Half a day at a time, for the same reason.
        starts = range(today - _DAYS * _DAY, today, _DAY // 2)
        return [item for start in starts for item in await self._items(start, _DAY // 2)]

    async def _items(self, start: int, length: int) -> list[Item]:
        found: list[Item] = []
        async with self._store.moment() as moment:
            async for chunk in moment.items(start, start + length):
                found += chunk
        return found

    async def _beside(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await asyncio.to_thread(work)


def _months(question: Question, ahead: Sequence[Expected], gap: float, seconds: float) -> list[Month]:
    """A fleet for the upper end of each month's interval, and what is new in it."""
    found: list[Month] = []
    before: dict[Machine, int] = {}
    now = ahead[0].middle
    for number, demand in enumerate(ahead):
        grown = tuple(replace(each, rate=each.rate * demand.high / now) for each in question.demands)
        try:
            best = plan(replace(question, demands=grown), gap, seconds, explain=False)
        except InfernoError as error:
            if number == 0:
                raise
            found.append(Month(number, demand, None, (), error.message))
            continue
        counts = {each.machine: each.count for each in best.rented}
        changed = {each: counts.get(each, 0) - before.get(each, 0) for each in {**before, **counts}}
        found.append(Month(number, demand, best, tuple(each for each in changed.items() if each[1])))
        before = counts
    return found


def _key(machine: Machine) -> tuple[str, str, str, bool]:
    return machine.cloud, machine.region, machine.name, machine.spot
