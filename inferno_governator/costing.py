"""Reports on cost from the store: it reads what a question needs, and judges nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from inferno_governator.analysis.breakdown import Breakdown, Filters
from inferno_governator.analysis.cost_report import CostReport, Question, Reporter, pieces
from inferno_governator.analysis.items import Item
from inferno_governator.analysis.periods import Period
from inferno_governator.store.store import Store

_HOUR, _DAY = 60, 1440
# Some 150 kB on the wire.
_ITEMS = 1_000


async def explain(store: Store, question: Question) -> CostReport:
    """The report that answers a question.

    Raises:
        InvalidInput: The question cannot be answered.
        Unavailable: The store cannot be read now.
    """
    reporter = Reporter(question)
    async with store.moment() as moment:
        for piece in pieces(question.period, question.grain):
            asked = moment.items(piece.start_minute, piece.end_minute, together=question.timeless, apart=question.apart)
            async for items in asked:
                reporter.add(items)
        if question.compare:
            before = question.compare
            asked = moment.items(before.start_minute, before.end_minute, together=True, apart=question.apart)
            async for items in asked:
                reporter.add_before(items)
    return reporter.report()


async def listed(store: Store, over: Period, where: Filters, *, hourly: bool) -> AsyncIterator[list[Item]]:
    """The items of a period that filters let through, in pieces of at most a thousand.

    Raises:
        Unavailable: The store cannot be read now.
    """
    kept = Breakdown((), where)
    async with store.moment() as moment:
        for piece in pieces(over, _HOUR if hourly else _DAY):
            async for items in moment.items(piece.start_minute, piece.end_minute):
                found = [item for _, item in kept.add(items)]
                for at in range(0, len(found), _ITEMS):
                    yield found[at : at + _ITEMS]
