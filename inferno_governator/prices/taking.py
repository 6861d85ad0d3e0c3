"""Take prices in: judge each, and say what becomes of it. Pure, but for the book that it is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import Enum

from inferno_governator.prices.book import Known, PriceBook
from inferno_governator.prices.offers import Quote
from inferno_governator.prices.rules import Rules, State, Verdict, judge


class Taken(Enum):
    """What became of a price."""

    # The first price of its offer.
    NEW = "new"
    CHANGED = "changed"
    # As before; that it still holds is noted.
    SAME = "same"
    # Set aside until it is confirmed.
    WAITS = "waits"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A price that was named, what became of it, and the price in force before."""

    quote: Quote
    taken: Taken
    verdict: Verdict
    previous: Quote | None
    # Of a price that counts, or waits.
    known: Known | None = None

    @property
    def fresher(self) -> bool:
        """True when it is of a later day than the price in force before."""
        return self.previous is not None and self.quote.as_of > self.previous.as_of


@dataclass(frozen=True, slots=True)
class When:
    """Now: the day, the Unix minute from which a new price counts, and microseconds."""

    today: date
    minute: int
    micros: int


def take(
    quotes: Iterable[Quote], book: PriceBook, when: When, rules: Rules, *, confirmed: bool = False
) -> list[Outcome]:
    """Judge prices one after another; those believed are in the book after it."""
    return [_one(quote, book, when, rules, confirmed) for quote in quotes]


def _one(quote: Quote, book: PriceBook, when: When, rules: Rules, confirmed: bool) -> Outcome:
    entry = book.entry(quote.offer.key)
    known = entry.at(when.minute) if entry else None
    current = known.quote if known else None
    waiting = [each.quote for each in entry.waiting] if entry else []
    verdict = judge(quote, current, waiting, when.today, rules, confirmed=confirmed)
    if verdict.state is State.REFUSED:
        return Outcome(quote, Taken.REFUSED, verdict, current)
    if verdict.state is State.JUMPED:
        waits = Known(quote, when.minute, when.micros, waits=True)
        if quote not in waiting:
            book.add(waits)
        return Outcome(quote, Taken.WAITS, verdict, current, None if quote in waiting else waits)
    if known is not None and quote.micros == known.quote.micros:
        same = Outcome(quote, Taken.SAME, verdict, current)
        if same.fresher:
            book.renew(known, quote)
        return same
    # The first price that is known of an offer is the best guess for the time before it, too.
    taken = Known(quote, when.minute if known else 0, when.micros)
    book.add(taken)
    if entry:
        entry.waiting.clear()
    return Outcome(quote, Taken.CHANGED if known else Taken.NEW, verdict, current, taken)
