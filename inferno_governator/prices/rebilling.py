"""Bill the past again, on purpose: what nodes' prices become when the price of an offer was another in some minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inferno_governator.analysis.cost import FactsChange
from inferno_governator.usage import Facts


def rebilled(
    history: Sequence[FactsChange], start: int, end: int, price: Callable[[Facts, int], Facts]
) -> list[FactsChange]:
    """The changes to write so that a node is priced anew from one minute until before another, and as before after it.

    Args:
        history: What is known of the node, oldest first.
        start: The first minute that is billed again.
        end: The first that is not.
        price: The same facts with the price of a minute.
    """
    before = [each for each in history if each.minute <= start]
    within = [each for each in history if start < each.minute < end]
    # A node that is not known until later costs nothing before.
    spans = [FactsChange(start, before[-1].facts)] if before else []
    spans += within
    if not spans:
        return []
    changed = [
        FactsChange(each.minute, again) for each in spans if (again := price(each.facts, each.minute)) != each.facts
    ]
    after_is_known = any(each.minute == end for each in history)
    if changed and changed[-1].minute == spans[-1].minute and not after_is_known:
        changed.append(FactsChange(end, spans[-1].facts))
    return changed
