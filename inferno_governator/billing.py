"""The bill of a period: which minutes it spans, and the store's usage added up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inferno_governator.analysis.cost import minute_items
from inferno_governator.analysis.lines import Line, Lines
from inferno_governator.store.store import Store
from inferno_runtime.errors import InvalidInput

_HOUR = 60
# 9999-12-31: the last day a Timestamp may name.
_LAST_SECOND = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Period:
    """Whole minutes: from ``start_minute``, until before ``end_minute``."""

    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Report:
    """The bill of a period; the costs of the lines add up to the total exactly."""

    period: Period
    lines: list[Line]
    total_cost_micros: int
    dropped_samples: int


def period(start: int | None, end: int | None, now: float) -> Period:
    """The minutes a question is about.

    Args:
        start: Unix seconds, rounded down to the minute; None is one hour before the end.
        end: Unix seconds, rounded up to the minute; None is now.
        now: Unix seconds.

    Raises:
        InvalidInput: The period is empty or reversed, or no calendar knows it.

    >>> period(None, 7201, now=0.0)
    Period(start_minute=61, end_minute=121)
    """
    for name, second in (("start", start), ("end", end)):
        if second is not None and not 0 <= second <= _LAST_SECOND:
            raise InvalidInput(
                f"{name} is outside the years 1970 to 9999.", reason="BAD_PERIOD", fix=f"Give a {name} within them."
            )
    end_minute = math.ceil((now if end is None else end) / 60)
    start_minute = end_minute - _HOUR if start is None else start // 60
    if start_minute >= end_minute or (start is not None and end is not None and start >= end):
        raise InvalidInput(
            "The period ends before it begins." if start != end else "The period is empty.",
            reason="BAD_PERIOD",
            fix="Give a start that lies before the end.",
        )
    return Period(start_minute, end_minute)


async def report(store: Store, over: Period) -> Report:
    """The bill of a period.

    Raises:
        Unavailable: The store cannot be read now.
    """
    dropped = 0
    async with store.moment() as moment:
        bill, history = Lines(), await moment.facts(over.end_minute)
        async for chunk in moment.usage(over.start_minute, over.end_minute):
            bill.add(minute_items(history, chunk.models, chunk.devices), chunk.devices)
            dropped += chunk.dropped_samples
    lines = bill.lines()
    return Report(over, lines, sum(line.cost_micros for line in lines), dropped)
