"""Azure's retail price list, which asks for no credentials.

https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices: one request for each machine
that is known, page after page by NextPageLink.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote, micros
from inferno_governator.prices.sources.source import cannot_ask, machines, regions
from inferno_runtime.errors import InvalidInput

if TYPE_CHECKING:
    import aiohttp

_SECONDS = 30.0
# Regions times kinds times systems of one machine are far fewer; a list that never ends would be asked for ever.
_MOST_PAGES = 50


class AzureSource:
    """The price list at ``address``."""

    name = "azure"

    def __init__(self, address: str) -> None:
        self._address = address

    async def quotes(self, book: PriceBook, clouds: Collection[str], today: date) -> list[Quote]:
        """As :meth:`inferno_governator.prices.sources.source.Source.quotes`."""
        if clouds and "azure" not in clouds:
            return []
        import aiohttp

        known, where = machines(book, "azure"), set(regions(book, "azure"))
        found: dict[OfferKey, Quote] = {}
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                for offer in known.values():
                    for item in await self._items(session, offer.key.instance_type):
                        for quote in _quote(item, known, today):
                            if quote.offer.key.region in where:
                                found[quote.offer.key] = quote
        except (TimeoutError, aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
            raise cannot_ask(self.name, error) from error
        return list(found.values())

    async def _items(self, session: aiohttp.ClientSession, machine: str) -> list[Mapping[str, Any]]:
        chosen = f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and armSkuName eq '{machine}'"
        items: list[Mapping[str, Any]] = []
        address: str | None = self._address
        parameters: dict[str, str] | None = {"$filter": chosen}
        for _ in range(_MOST_PAGES):
            if not address:
                return items
            async with session.get(address, params=parameters) as answer:
                answer.raise_for_status()
                page = await answer.json(content_type=None)
            items += page["Items"]
            address, parameters = page.get("NextPageLink"), None
        raise ValueError(f"its list of {machine} has more than {_MOST_PAGES} pages")


def _quote(item: Mapping[str, Any], known: Mapping[str, Offer], today: date) -> Iterator[Quote]:
    machine = known.get(str(item["armSkuName"]).lower())
    words = str(item["skuName"])
    hourly = str(item["unitOfMeasure"]) == "1 Hour"
    # Windows costs its licence on top; low priority is the name of spot machines of another service.
    other = "Windows" in str(item["productName"]) or "Low Priority" in words
    if machine is None or not hourly or other or str(item.get("currencyCode", "USD")) != "USD":
        return
    kind = Kind.SPOT if words.endswith("Spot") else Kind.ON_DEMAND
    key = machine.key._replace(region=str(item["armRegionName"]).lower(), kind=kind)
    try:
        price = micros(repr(item["retailPrice"]))
    except InvalidInput:
        price = 0
    yield Quote(replace(machine, key=key), price, today, "Azure retail prices")
