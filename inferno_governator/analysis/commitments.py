"""What is paid for commitments that nobody uses.

A commitment costs its price in every minute. What nodes used of it stands in their items (``committed_micros``), so the
rest of any stretch is its price for the stretch less that: what its nodes cost and what is unused add up to its price
exactly. Where two nodes held one place for a while the rest may be below zero: it takes back what was billed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from inferno_governator.analysis.cost import MINUTE_MICROS
from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.money import metered
from inferno_governator.usage import Facts

_DAY = 1440


class Term(NamedTuple):
    """What a commitment costs from a minute on: the price of ``facts`` an hour, 0 once it is over, for so many
    ``places`` of machines (a savings plan has none)."""

    minute: int
    facts: Facts
    places: int = 0


class CommitmentMeter:
    """Counts what items use of each commitment from one minute until before another, and tells what is left.

    Args:
        terms: Of each commitment, by its name, the oldest first.
        start: First minute.
        end: The minute after the last.
        together: Nobody asks when it was: one item for all of the stretch, and not one for each day.
    """

    def __init__(self, terms: Mapping[str, Sequence[Term]], start: int, end: int, *, together: bool = False) -> None:
        self._terms = terms
        days = [] if together else range(start - start % _DAY + _DAY, end, _DAY)
        self._edges = [start, *days, end]
        self._together = together
        self._used: dict[tuple[str, int], int] = {}

    def count(self, items: Iterable[Item]) -> None:
        """Count items that lie within the stretch; none spans days where days are told apart."""
        for item in items:
            if item.committed_micros:
                place = (item.facts.commitment, 0 if self._together else item.start_minute // _DAY)
                self._used[place] = self._used.get(place, 0) + item.committed_micros

    def unused(self) -> list[Item]:
        """What is left of each commitment in each part of the stretch, if anything is."""
        return [item for name in sorted(self._terms) for item in self._left(name) if item.cost_micros]

    def _left(self, name: str) -> Iterator[Item]:
        for first, last in pairwise(self._edges):
            cost, told = 0, self._terms[name][0]
            for start, end, term in _spans(self._terms[name], first, last):
                cost += metered(term.facts.price, start * MINUTE_MICROS, (end - start) * MINUTE_MICROS)
                # What is over says nothing of what was left.
                told = term if term.facts.price else told
            left = cost - self._used.get((name, 0 if self._together else first // _DAY), 0)
            # What is left is so much of a place, at a place's price.
            facts = replace(told.facts, price=told.facts.price // max(1, told.places))
            yield Item(first, last - first, "", facts, Purpose.UNUSED, "", "", "", "", 0, left, committed_micros=left)


def _spans(terms: Sequence[Term], start: int, end: int) -> Iterator[tuple[int, int, Term]]:
    """``(start, end, term)`` for each term that holds in a stretch."""
    until = [each.minute for each in terms[1:]]
    for term, next_minute in zip(terms, [*until, end], strict=True):
        first, last = max(start, term.minute), min(end, next_minute)
        if first < last:
            yield first, last, term


def changed_terms(known: Mapping[str, Sequence[Term]], now: Mapping[str, Term], minute: int) -> dict[str, Term]:
    """The terms to note in a minute, by name: of commitments that are new, at once; of those that changed or are over,
    from the next minute on, as the prices of the nodes that they cover."""
    news = {name: term for name, term in now.items() if name not in known}
    for name, terms in known.items():
        last = terms[-1]
        over = last._replace(facts=replace(last.facts, price=0, committed=0))
        term = now.get(name, over)
        if (term.facts, term.places) != (last.facts, last.places):
            news[name] = term._replace(minute=max(minute + 1, last.minute))
    return news
