"""A report on cost, as a value: a bill broken down, over time, and beside an earlier one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from inferno_governator.analysis.breakdown import (
    OF_TIME,
    Breakdown,
    Dimension,
    Filters,
    Key,
    Line,
    Sums,
    folded,
    merged,
    ordered,
)
from inferno_governator.analysis.change import Account, Change, change
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.analysis.periods import Period
from inferno_runtime.errors import InvalidInput

_DAY = 1440
# Lengths of a bucket in minutes, and how many there may be.
_STEPS = (5, 60, _DAY, 7 * _DAY, 28 * _DAY)
_MOST_BUCKETS = 80
_LONGEST_BY_HOUR = 31 * _DAY
# Fields of items that are dimensions of their own, and those by which the causes of a change are told.
_FIELDS = {"node", "model", "version", "team", "key"}
_CAUSES = {"node", "model", "version"}
# A plot of more lines than that tells nobody anything.
_PLOTTED = 7


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is to say.

    ``limit`` is how many lines there are before the rest is folded into one, 0 for any number.
    """

    period: Period
    by: Sequence[Dimension] = ()
    where: Filters = field(default_factory=dict)
    limit: int = 0
    compare: Period | None = None
    timeline: bool = False

    @property
    def step(self) -> int:
        """Minutes of a bucket of the timeline: the shortest that makes at most some 80."""
        return next((step for step in _STEPS if self.period.minutes <= _MOST_BUCKETS * step), _STEPS[-1])

    @property
    def timeless(self) -> bool:
        """True when it says nothing of when anything was."""
        return not self.timeline and OF_TIME.isdisjoint(self.by)

    @property
    def apart(self) -> frozenset[str]:
        """The fields by which it tells items apart, besides their time, purpose and facts."""
        asked = {dimension.value for dimension in (*self.by, *self.where)}
        return frozenset(_FIELDS & (asked | (_CAUSES if self.compare else set())))

    @property
    def grain(self) -> int:
        """The longest time, in minutes, that an item may span."""
        grain = self.step if self.timeline else _DAY
        return min(grain, 60 if Dimension.HOUR in self.by else _DAY)


@dataclass(frozen=True, slots=True)
class Compared:
    """A line and what it cost in the other period; None where nothing is compared."""

    line: Line
    before_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of the period: what it cost, by line (in the order of ``Timeline.lines``, the rest last)."""

    start_minute: int
    cost_micros: int
    paid_micros: int
    worked_micros: int
    line_micros: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Cost and use over time. ``lines`` are places of lines in the report, the dearest ones."""

    step_minutes: int
    lines: tuple[int, ...]
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class CostReport:
    """The lines add up to ``total``; ``bill_micros`` is the cost of all, also of what the filters leave out."""

    period: Period
    by: tuple[Dimension, ...]
    where: Filters
    lines: tuple[Compared, ...]
    total: Sums
    bill_micros: int
    compared_with: Period | None = None
    change: Change | None = None
    timeline: Timeline | None = None

    @property
    def shares_tokens(self) -> bool:
        """True where tokens are told of teams or keys: mostly shares of what models counted (docs/usage.md)."""
        return not {Dimension.TEAM, Dimension.KEY}.isdisjoint((*self.by, *self.where))


class Reporter:
    """Takes the items of the period, and of the one it is compared with, in any number of pieces; gives the report.

    Raises:
        InvalidInput: The question cannot be answered.
    """

    def __init__(self, question: Question) -> None:
        if Dimension.HOUR in question.by and question.period.minutes > _LONGEST_BY_HOUR:
            raise InvalidInput(
                "More than 31 days cannot be grouped by hour.",
                reason="TOO_MANY_HOURS",
                fix="Give a shorter period, or group by day.",
            )
        if question.compare and not OF_TIME.isdisjoint(question.by):
            raise InvalidInput(
                "Days and hours of two periods cannot be compared line by line.",
                reason="BAD_COMPARISON",
                fix="Group by something else than time, or compare nothing.",
            )
        self._question = question
        self._now = Breakdown(question.by, question.where)
        self._before = Breakdown(question.by, question.where)
        self._account_now, self._account_before = Account(), Account()
        self._series: dict[int, dict[Key, int]] = {}
        # Time paid for, and worked, of each bucket.
        self._used: dict[int, list[int]] = {}

    def add(self, items: Iterable[Item]) -> None:
        """Count items of the period."""
        kept = self._now.add(items)
        if self._question.compare:
            self._account_now.add(item for _, item in kept)
        if self._question.timeline:
            self._count(kept)

    def add_before(self, items: Iterable[Item]) -> None:
        """Count items of the period it is compared with."""
        self._account_before.add(item for _, item in self._before.add(items))

    def report(self) -> CostReport:
        """What was counted."""
        asked = self._question
        lines, rest = self._lines()
        kept = [each.line for each in lines]
        if rest:
            lines = [*lines, _fold(rest)]
        return CostReport(
            period=asked.period,
            by=tuple(asked.by),
            where=asked.where,
            lines=tuple(lines),
            total=self._now.total(),
            bill_micros=self._now.bill_micros,
            compared_with=asked.compare,
            change=change(self._account_before, self._account_now) if asked.compare else None,
            timeline=self._timeline(kept) if asked.timeline else None,
        )

    def _lines(self) -> tuple[list[Compared], list[Compared]]:
        """The lines that are shown, and those that are folded."""
        every = self._now.lines()
        before = {(line.values, line.purpose): line.sums.cost_micros for line in self._before.lines()}
        gone = before.keys() - {(line.values, line.purpose) for line in every} if before else ()
        if gone:
            every = ordered(self._now.by, [*every, *(Line(values, purpose, Sums()) for values, purpose in gone)])
        kept, rest = folded(every, self._question.limit) if 0 < self._question.limit < len(every) else (every, [])
        return self._beside(kept, before), self._beside(rest, before)

    def _beside(self, lines: Iterable[Line], before: Mapping[Key, int]) -> list[Compared]:
        if not self._question.compare:
            return [Compared(line) for line in lines]
        return [Compared(line, before.get((line.values, line.purpose), 0)) for line in lines]

    def _count(self, kept: Iterable[tuple[Key, Item]]) -> None:
        origin, step = self._question.period.start_minute // _DAY * _DAY, self._question.step
        for key, item in kept:
            bucket = origin + (item.start_minute - origin) // step * step
            series = self._series.get(bucket)
            if series is None:
                series = self._series[bucket] = {}
                self._used[bucket] = [0, 0]
            series[key] = series.get(key, 0) + item.cost_micros
            used = self._used[bucket]
            used[0] += item.paid_micros
            used[1] += item.paid_micros if item.purpose is Purpose.WORK else 0

    def _timeline(self, lines: Sequence[Line]) -> Timeline:
        dearest, _ = folded(lines, _PLOTTED)
        places = tuple(at for at, line in enumerate(lines) if line in dearest)
        keys = [(lines[at].values, lines[at].purpose) for at in places]
        period, step = self._question.period, self._question.step
        origin = period.start_minute // _DAY * _DAY
        first = origin + (period.start_minute - origin) // step * step
        buckets = []
        for start in range(first, period.end_minute, step):
            series, (paid, worked) = self._series.get(start, {}), self._used.get(start, (0, 0))
            costs, cost = [series.get(key, 0) for key in keys], sum(series.values())
            buckets.append(
                Bucket(
                    start_minute=max(start, period.start_minute),
                    cost_micros=cost,
                    paid_micros=paid,
                    worked_micros=worked,
                    line_micros=(*costs, cost - sum(costs)),
                )
            )
        return Timeline(step, places, tuple(buckets))


def _fold(rest: Sequence[Compared]) -> Compared:
    purposes: set[Purpose | None] = {each.line.purpose for each in rest}
    line = Line(
        (), purposes.pop() if len(purposes) == 1 else None, merged(each.line.sums for each in rest), others=len(rest)
    )
    known = [each.before_micros for each in rest if each.before_micros is not None]
    return replace(Compared(line), before_micros=sum(known) if known else None)


def pieces(period: Period, grain: int) -> list[Period]:
    """The period cut where ``grain`` minutes begin, if that is less than a day; items of a piece are no longer."""
    if grain >= _DAY:
        return [period]
    cuts = range(period.start_minute // grain * grain + grain, period.end_minute, grain)
    edges = [period.start_minute, *cuts, period.end_minute]
    return [Period(start, end) for start, end in itertools.pairwise(edges)]
