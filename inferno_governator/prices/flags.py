"""Prices that nodes are billed at and that somebody should look at: too old, or with another one waiting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Kind, OfferKey, Quote, cloud_of
from inferno_governator.prices.pricing import Origin
from inferno_governator.prices.rules import Rules, State, Verdict, aged, jump
from inferno_governator.usage import Facts

# Prices of nodes that are the offer's, or reckoned from it.
_LISTED = frozenset({Origin.CATALOGUE.value, Origin.SAVINGS_PLAN.value})


@dataclass(frozen=True, slots=True)
class Flag:
    """A price of an offer, what is the matter with it, and the nodes that cost what the offer costs, by name."""

    quote: Quote
    verdict: Verdict
    nodes: tuple[str, ...]


def flags(nodes: Mapping[str, Facts], minute: int, today: date, book: PriceBook, rules: Rules) -> list[Flag]:
    """What is the matter with the prices that nodes have, at most one flag for each state of each offer."""
    users: dict[OfferKey, list[str]] = {}
    for name, facts in sorted(nodes.items()):
        if facts.origin in _LISTED:
            kind = Kind.SPOT if facts.spot else Kind.ON_DEMAND
            machine = OfferKey(cloud_of(facts.provider), facts.region.lower(), facts.instance_type, kind)
            known = book.find(machine, minute)
            if known is not None:
                users.setdefault(known.quote.offer.key, []).append(name)
    found = []
    for key, names in users.items():
        entry = book.entry(key)
        known = entry.at(minute) if entry else None
        if entry is None or known is None:
            continue
        old = aged(known.quote, today, rules)
        if old.state is State.STALE:
            found.append(Flag(known.quote, old, tuple(names)))
        if entry.waiting:
            newest = entry.waiting[-1].quote
            verdict = Verdict(State.JUMPED, jump(newest.micros, known.quote.micros, rules))
            found.append(Flag(newest, verdict, tuple(names)))
    return found
