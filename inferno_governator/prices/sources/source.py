"""What a source of live prices is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Offer, Quote
from inferno_runtime.errors import Unavailable, Unsupported


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where clouds serve their price lists."""

    azure: str = "https://prices.azure.com/api/retail/prices"
    aws: str = "https://pricing.us-east-1.amazonaws.com"


class Source(Protocol):
    """Says what machines cost today. ``name`` is what people call it."""

    name: str

    async def quotes(self, book: PriceBook, clouds: Collection[str], today: date) -> list[Quote]:
        """Its prices of today, of these clouds or, for none, of all it has. The book says which machines have which
        GPUs, where the source does not.

        Raises:
            Unsupported: What it needs is not installed, or it knows no credentials.
            Unavailable: It cannot be asked now, or answers what nobody understands.
        """
        ...


def machines(book: PriceBook, cloud: str) -> Mapping[str, Offer]:
    """The machines of a cloud that are known, by instance type in lower case."""
    offers = (entry.offer for entry in book.entries() if entry.offer.key.cloud == cloud)
    return {offer.key.instance_type.lower(): offer for offer in offers}


def regions(book: PriceBook, cloud: str) -> list[str]:
    """The regions of a cloud that are known."""
    return sorted({entry.offer.key.region for entry in book.entries() if entry.offer.key.cloud == cloud} - {"*"})


def not_installed(name: str, package: str, *, extra: str = "prices") -> Unsupported:
    """The error of a source whose library is an extra that is not there."""
    return Unsupported(
        f"The source {name} needs {package}, which is not installed.",
        reason="EXTRA_MISSING",
        fix=f"Install the extra: pip install 'inferno-mesh[{extra}]'.",
    )


def cannot_ask(name: str, why: object) -> Unavailable:
    """The error of a source that does not answer."""
    text = " ".join(str(why).split())[:300] or type(why).__name__
    return Unavailable(
        f"The source {name} cannot be asked: {text}.",
        reason="PRICE_SOURCE_UNAVAILABLE",
        fix="The prices that are known stay, with their age. Try again, or import a table.",
    )
