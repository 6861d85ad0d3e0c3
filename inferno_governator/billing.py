"""The bill of a period: the store's usage added up."""

from __future__ import annotations

from dataclasses import dataclass

from inferno_governator.analysis.lines import Line, Lines
from inferno_governator.analysis.periods import Period
from inferno_governator.store.store import Store


@dataclass(frozen=True, slots=True)
class Report:
    """The bill of a period; the costs of the lines add up to the total exactly."""

    period: Period
    lines: list[Line]
    total_cost_micros: int
    dropped_samples: int


async def report(store: Store, over: Period) -> Report:
    """The bill of a period.

    Raises:
        Unavailable: The store cannot be read now.
    """
    async with store.moment() as moment:
        bill = Lines()
        async for items in moment.items(over.start_minute, over.end_minute, together=True):
            bill.add(items)
        bill.add((), await moment.devices(over.start_minute, over.end_minute))
        dropped = await moment.dropped_samples(over.start_minute, over.end_minute)
    lines = bill.lines()
    return Report(over, lines, sum(line.cost_micros for line in lines), dropped)
