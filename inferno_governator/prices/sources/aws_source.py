"""AWS's own price list, which asks for no credentials.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-bulk-api-fetching-price-list-files-manually.html:
one CSV for each region, some hundred megabytes long, so it is read line by line and nothing of it is kept but what is
looked for. Its first lines say of which day it is. It has no spot prices.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date

from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Kind, Offer, Quote, micros
from inferno_governator.prices.sources.source import cannot_ask, machines, regions

_FILE = "/offers/v1.0/aws/AmazonEC2/current/{region}/index.csv"
_SILENT_SECONDS = 30.0
# Linux, on demand, on shared hardware, without other programs, and not the price of a reservation that nobody uses.
_ONLY = {
    "TermType": "OnDemand",
    "Unit": "Hrs",
    "Currency": "USD",
    "Operating System": "Linux",
    "Tenancy": "Shared",
    "CapacityStatus": "Used",
    "Pre Installed S/W": "NA",
}
_NEEDED = (*_ONLY, "Instance Type", "Region Code", "PricePerUnit")


class AwsSource:
    """The price list at ``address``: prices of the machines that are known, in the regions that are known."""

    name = "aws"

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")

    async def quotes(self, book: PriceBook, clouds: Collection[str], today: date) -> list[Quote]:
        """As :meth:`inferno_governator.prices.sources.source.Source.quotes`."""
        if clouds and "aws" not in clouds:
            return []
        import aiohttp

        known = machines(book, "aws")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENT_SECONDS, sock_read=_SILENT_SECONDS)
        found: list[Quote] = []
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                for region in regions(book, "aws"):
                    async with session.get(self._address + _FILE.format(region=region)) as answer:
                        answer.raise_for_status()
                        found += [quote async for quote in _quotes(aiter(answer.content), known, today)]
        except (TimeoutError, aiohttp.ClientError, ValueError, LookupError) as error:
            raise cannot_ask(self.name, error) from error
        return found


async def _quotes(lines: AsyncIterator[bytes], known: Mapping[str, Offer], today: date) -> AsyncIterator[Quote]:
    day, header = today, list[str]()
    async for line in lines:
        if header and b'"OnDemand"' not in line:
            continue
        cells = next(csv.reader([line.decode("utf-8")]), [])
        if header:
            for quote in _quote(dict(zip(header, cells, strict=False)), known, day):
                yield quote
        elif cells[:1] == ["Publication Date"]:
            day = date.fromisoformat(cells[1][:10])
        elif cells[:1] == ["SKU"]:
            header = cells
            missing = sorted(set(_NEEDED) - set(header))
            if missing:
                raise LookupError(f"its list has no column {missing[0]!r}")
    if not header:
        raise LookupError("its list has no columns")


def _quote(row: Mapping[str, str], known: Mapping[str, Offer], day: date) -> Iterator[Quote]:
    offer = known.get(row.get("Instance Type", "").lower())
    if offer is not None and all(row.get(name) == value for name, value in _ONLY.items()):
        key = offer.key._replace(region=row["Region Code"].lower(), kind=Kind.ON_DEMAND)
        yield Quote(replace(offer, key=key), micros(row["PricePerUnit"]), day, "AWS price list")
