"""What AWS asks for spot machines now, through its own client: ``ec2:DescribeSpotPriceHistory``.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html: asked from now on, it answers
with the price in force in each zone. One zone's price is not its neighbour's; what an offer costs is the cheapest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote, micros
from inferno_governator.prices.sources.source import cannot_ask, machines, not_installed, regions
from inferno_runtime.errors import InvalidInput, Unsupported

_SECONDS = 30
# In a VPC, as every account since 2013 has it.
_SYSTEM = "Linux/UNIX"


class AwsSpotSource:
    """The spot market: prices of the machines that are known, in the regions that are known. Credentials, and another
    address, are found where AWS's own tools find them."""

    name = "aws-spot"

    async def quotes(self, book: PriceBook, clouds: Collection[str], today: date) -> list[Quote]:
        """As :meth:`inferno_governator.prices.sources.source.Source.quotes`."""
        if clouds and "aws" not in clouds:
            return []
        known = machines(book, "aws")
        names = sorted({offer.key.instance_type for offer in known.values()})
        found: list[Quote] = []
        for region in regions(book, "aws"):
            items = await asyncio.to_thread(_items, region, names)
            found += _quotes(items, region, known, today)
        return found


def _items(region: str, names: Sequence[str]) -> list[Mapping[str, Any]]:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ImportError:
        raise not_installed("aws-spot", "boto3", extra="aws") from None
    patience = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"mode": "standard"})
    try:
        # A session of our own: the default one is not safe in threads.
        client = boto3.session.Session().client("ec2", region_name=region, config=patience)
        with closing(client):
            pages = client.get_paginator("describe_spot_price_history").paginate(
                InstanceTypes=list(names), ProductDescriptions=[_SYSTEM], StartTime=datetime.now(UTC)
            )
            return [item for page in pages for item in page["SpotPriceHistory"]]
    except NoCredentialsError:
        raise Unsupported(
            "The source aws-spot has no credentials of AWS.",
            reason="NO_CREDENTIALS",
            fix="Give them as for AWS's own tools (AWS_PROFILE, or a role of the machine), with "
            "ec2:DescribeSpotPriceHistory.",
        ) from None
    except (BotoCoreError, ClientError) as error:
        raise cannot_ask("aws-spot", error) from error


def _quotes(
    items: Sequence[Mapping[str, Any]], region: str, known: Mapping[str, Offer], today: date
) -> Iterator[Quote]:
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for item in items:
        place = (str(item["InstanceType"]).lower(), str(item.get("AvailabilityZone", "")))
        if place not in newest or item["Timestamp"] > newest[place]["Timestamp"]:
            newest[place] = item
    cheapest: dict[OfferKey, Quote] = {}
    for (name, _), item in newest.items():
        offer = known.get(name)
        if offer is None:
            continue
        try:
            price = micros(str(item["SpotPrice"]))
        except InvalidInput:
            price = 0
        # In force until it changes: of today, whenever it began.
        key = offer.key._replace(region=region, kind=Kind.SPOT)
        quote = Quote(replace(offer, key=key), price, today, "AWS spot history")
        if key not in cheapest or quote.micros < cheapest[key].micros:
            cheapest[key] = quote
    yield from cheapest.values()
