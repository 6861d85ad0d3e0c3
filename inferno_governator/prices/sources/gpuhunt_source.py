"""gpuhunt: a catalogue of many clouds that its project collects every day, and marketplaces asked live.

With GPUHUNT_CATALOG_DIR it reads ``<provider>.csv`` there and asks nobody.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from inferno_governator.prices import gpus
from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import ANYWHERE, Kind, Offer, OfferKey, Quote, micros
from inferno_governator.prices.sources.source import cannot_ask, not_installed
from inferno_runtime.errors import InfernoError, InvalidInput

# gpuhunt's names of providers whose catalogue has fixed prices, and ours.
_CLOUDS = {
    "aws": "aws",
    "azure": "azure",
    "gcp": "gcp",
    "lambdalabs": "lambda",
    "nebius": "nebius",
    "oci": "oci",
    "runpod": "runpod",
    "verda": "verda",
}
# gpuhunt's names of GPUs that differ from ours.
_GPUS = {"RTXPRO6000": "RTX PRO 6000", "A6000": "RTX A6000", "A4000": "RTX A4000", "RTX4090": "RTX 4090"}


class GpuhuntSource:
    """The catalogue that the library fetches."""

    name = "gpuhunt"

    async def quotes(self, _: PriceBook, clouds: Collection[str], today: date) -> list[Quote]:
        """As :meth:`inferno_governator.prices.sources.source.Source.quotes`."""
        wanted = [theirs for theirs, ours in _CLOUDS.items() if not clouds or ours in clouds]
        try:
            items, day = await asyncio.to_thread(_items, wanted, today)
        except InfernoError:
            raise
        except Exception as error:
            raise cannot_ask(self.name, error) from error
        cheapest: dict[OfferKey, Quote] = {}
        for quote in _quotes(items, day):
            known = cheapest.get(quote.offer.key)
            # One offer has a row for each size of disk, or each zone: what it costs at least.
            if known is None or quote.micros < known.micros:
                cheapest[quote.offer.key] = quote
        if wanted and not cheapest:
            # It skips rows that it cannot read, and says so in its own log alone.
            raise cannot_ask(self.name, "it has no price of a GPU that is known here")
        return list(cheapest.values())


def _items(wanted: list[str], today: date) -> tuple[list[Any], date]:
    try:
        import gpuhunt
    except ImportError:
        raise not_installed("gpuhunt", "gpuhunt") from None
    catalog = gpuhunt.Catalog(balance_resources=False, auto_reload=False)
    folder = os.environ.get("GPUHUNT_CATALOG_DIR", "")
    if not folder:
        catalog.load()
    else:
        wanted = [name for name in wanted if (Path(folder) / f"{name}.csv").exists()]
        if not wanted:
            raise cannot_ask("gpuhunt", f"GPUHUNT_CATALOG_DIR {folder} holds no catalogue of these clouds")
    return catalog.query(provider=wanted, min_gpu_count=1), today


def _quotes(items: list[Any], day: date) -> Iterator[Quote]:
    for item in items:
        gpu = gpus.known(_GPUS.get(str(item.gpu_name), str(item.gpu_name)))
        if gpu is None or not item.gpu_count:
            continue
        kind = Kind.SPOT if item.spot else Kind.ON_DEMAND
        region = (item.location or ANYWHERE).lower()
        key = OfferKey(_CLOUDS[item.provider], region, item.instance_name, kind)
        offer = Offer(
            key, gpu.name, int(item.gpu_count), round(item.gpu_memory or 0), int(item.cpu or 0), round(item.memory or 0)
        )
        try:
            # As it is written: the library's numbers are binary.
            price = micros(repr(float(item.price)))
        except InvalidInput:
            # Infinite or not a number: as good as zero, which the rules refuse by name.
            price = 0
        yield Quote(offer, price, day, "gpuhunt")
