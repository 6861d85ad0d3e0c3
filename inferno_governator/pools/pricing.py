"""What one node of a pool costs, and whether that may be acted on. Pure."""

from __future__ import annotations

from datetime import date

from inferno_governator.pools.pool import Pool
from inferno_governator.prices.book import Known, PriceBook
from inferno_governator.prices.offers import Kind, OfferKey
from inferno_governator.prices.overlay import Overlay
from inferno_governator.prices.pricing import Origin, price_fleet
from inferno_governator.usage import Facts

# Providers whose machines have no price but what their owner says.
_OWN = frozenset({"local", "kubernetes", "webhook"})


def price(pool: Pool, minute: int, book: PriceBook, overlay: Overlay) -> tuple[int, str]:
    """Micro-dollars an hour, and why that may not be acted on; empty when it may."""
    if pool.micros_per_hour or (pool.provider in _OWN and not pool.instance_type):
        return pool.micros_per_hour, ""
    said = Facts(0, pool.region, instance_type=pool.instance_type, spot=pool.spot, provider=pool.provider)
    priced, _ = price_fleet({pool.name: said}, minute, book, overlay, {})
    found = priced[pool.name]
    return found.micros, found.reason if found.origin in (Origin.UNPRICED, Origin.ESTIMATE) else ""


def as_of(pool: Pool, minute: int, book: PriceBook) -> date | None:
    """The day that the price is of; None where nobody dates it."""
    if pool.micros_per_hour:
        return None
    kind = Kind.SPOT if pool.spot else Kind.ON_DEMAND
    known: Known | None = book.find(OfferKey(pool.provider, pool.region, pool.instance_type, kind), minute)
    return known.quote.as_of if known else None
