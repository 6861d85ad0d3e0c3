"""Reports on cost from the store: it reads what a question needs, and judges nothing."""

from __future__ import annotations

from inferno_governator.analysis.cost_report import CostReport, Question, Reporter, pieces
from inferno_governator.store.store import Store


async def explain(store: Store, question: Question) -> CostReport:
    """The report that answers a question.

    Raises:
        InvalidInput: The question cannot be answered.
        Unavailable: The store cannot be read now.
    """
    reporter = Reporter(question)
    async with store.moment() as moment:
        for piece in pieces(question.period, question.grain):
            async for items in moment.items(piece.start_minute, piece.end_minute):
                reporter.add(items)
        if question.compare:
            async for items in moment.items(question.compare.start_minute, question.compare.end_minute):
                reporter.add_before(items)
    return reporter.report()
