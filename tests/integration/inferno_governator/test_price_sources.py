"""Live prices, from servers that answer as clouds do, and from a folder as gpuhunt reads it."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from inferno.governance.v1 import price_pb2 as wire
from inferno_governator.prices import refreshing
from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.sources.source import not_installed
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import InvalidInput
from tests.integration.inferno_governator.aws import forget_all, point_at, without_credentials
from tests.integration.inferno_governator.test_prices import LIST, NOW, Prices, pricing

H100 = "Standard_ND96isr_H100_v5"
# In the bundled catalogue, eastus.
AZURE_LIST = 98_320_000


def azure_item(price: object, region: str = "eastus", sku: str = "ND96isr H100 v5", **more: object) -> dict[str, Any]:
    """One item of https://prices.azure.com/api/retail/prices, with the fields that it has (some left out)."""
    return {
        "currencyCode": "USD",
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": region,
        "effectiveStartDate": "2026-11-01T00:00:00Z",
        "productName": "Virtual Machines NDsrH100v5 Series",
        "skuName": sku,
        "serviceName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": H100,
        **more,
    }


@asynccontextmanager
async def server(path: str, answer: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """A server on loopback; yields its address."""

    async def handle(request: web.Request) -> web.StreamResponse:
        given = answer(request)
        return given if isinstance(given, web.StreamResponse) else web.json_response(given)

    app = web.Application()
    app.router.add_get(path, handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def refresh(prices: Prices, *sources: str, **more: Any) -> wire.RefreshedSource:
    answer: wire.RefreshPricesResponse = await prices(
        "RefreshPrices", wire.RefreshPricesRequest(sources=sources, **more)
    )
    (one,) = answer.sources
    return one


async def cost(
    prices: Prices, machine: str, region: str, kind: wire.PriceKind.ValueType = wire.PRICE_KIND_ON_DEMAND
) -> int:
    found = await prices.listed(instance_type=machine, region=region, kind=kind)
    return next(each.price_micros_per_hour for each in found if each.state != wire.PRICE_STATE_JUMPED)


async def test_azure_is_asked_page_by_page_and_what_the_rules_refuse_is_not_taken(
    sqlite_url: str, socket_dir: Path
) -> None:
    items = [
        azure_item(90.0),
        azure_item(30.0, sku="ND96isr H100 v5 Spot"),
        azure_item(10.0, sku="ND96isr H100 v5 Low Priority"),
        azure_item(140.0, productName="Virtual Machines NDsrH100v5 Series Windows"),
        azure_item(0, region="eastus2"),
        azure_item(50.0, region="westeurope"),
        azure_item(98.32, region="mars"),
        azure_item(98.32, unitOfMeasure="1 Month"),
        azure_item(98.32, armSkuName="Standard_D2"),
    ]
    asked: list[str] = []

    def answer(request: web.Request) -> Any:
        asked.append(request.query.get("$filter", ""))
        if f"'{H100}'" not in request.query.get("$filter", "") and "skip" not in request.query:
            return {"Items": [], "NextPageLink": None}
        at = int(request.query.get("skip", "0"))
        more = f"{request.url.origin()}/prices?skip={at + 4}" if at + 4 < len(items) else None
        return {"BillingCurrency": "USD", "Items": items[at : at + 4], "NextPageLink": more, "Count": 4}

    async with (
        server("/prices", answer) as address,
        pricing(sqlite_url, socket_dir, ManualClock(wall=NOW), azure_prices=f"{address}/prices") as (_, prices),
    ):
        done = await refresh(prices, "azure")
        assert not done.error
        counts = done.counts
        assert (counts.new, counts.changed, counts.waits, counts.refused) == (1, 1, 1, 1)
        told = {each.taken: each for each in done.outcomes}
        assert told["changed"].previous_micros_per_hour == AZURE_LIST
        assert "is no price" in told["refused"].reason
        assert "waits until it is confirmed" in told["waits"].reason
        assert await cost(prices, H100, "eastus") == 90_000_000
        assert await cost(prices, H100, "eastus", wire.PRICE_KIND_SPOT) == 30_000_000
        assert await cost(prices, H100, "eastus2") == AZURE_LIST
        assert len(asked) > 10
        assert (await refresh(prices, "azure", clouds=["aws"])).counts == wire.PriceCounts()
        # The same again, confirmed: the jump counts; zero never does.
        again = (await refresh(prices, "azure", confirm=True)).counts
        assert (again.same, again.changed, again.refused) == (2, 1, 1)
        assert await cost(prices, H100, "westeurope") == 50_000_000


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda _: web.Response(status=503), "503"),
        (lambda _: web.Response(text="<html>"), "cannot be asked"),
        (lambda _: {"Error": "no"}, "Items"),
        (lambda _: {"Items": [{"skuName": "x"}]}, "armSkuName"),
        (lambda request: {"Items": [], "NextPageLink": str(request.url)}, "more than 50 pages"),
    ],
)
async def test_a_source_that_cannot_be_asked_is_a_sentence_and_the_old_prices_stay(
    sqlite_url: str, socket_dir: Path, answer: Callable[[web.Request], Any], why: str
) -> None:
    async with (
        server("/prices", answer) as address,
        pricing(sqlite_url, socket_dir, ManualClock(wall=NOW), azure_prices=f"{address}/prices") as (_, prices),
    ):
        done = await refresh(prices, "azure")
        assert why in done.error
        assert "prices that are known stay" in done.error
        assert await cost(prices, H100, "eastus") == AZURE_LIST


async def test_nobody_at_the_other_end_is_a_sentence_too(sqlite_url: str, socket_dir: Path) -> None:
    nowhere = {"azure_prices": "http://127.0.0.1:9/prices", "aws_prices": "http://127.0.0.1:9"}
    async with pricing(sqlite_url, socket_dir, ManualClock(wall=NOW), **nowhere) as (_, prices):
        for name in ("azure", "aws"):
            assert f"The source {name} cannot be asked" in (await refresh(prices, name)).error
        with pytest.raises(InvalidInput, match="no source of prices 'crystal ball'"):
            await refresh(prices, "crystal ball")


AWS_COLUMNS = (
    *("SKU", "TermType", "Unit", "PricePerUnit", "Currency", "Instance Type", "Operating System", "Tenancy"),
    *("CapacityStatus", "Pre Installed S/W", "Region Code"),
)


def aws_line(price: str, machine: str = "p5.48xlarge", **more: str) -> str:
    cells = {
        "SKU": "X",
        "TermType": "OnDemand",
        "Unit": "Hrs",
        "PricePerUnit": price,
        "Currency": "USD",
        "Instance Type": machine,
        "Operating System": "Linux",
        "Tenancy": "Shared",
        "CapacityStatus": "Used",
        "Pre Installed S/W": "NA",
        "Region Code": "us-east-1",
        **more,
    }
    return ",".join(f'"{cells[name]}"' for name in AWS_COLUMNS)


async def test_aws_is_read_line_by_line_and_dated_by_its_own_day(sqlite_url: str, socket_dir: Path) -> None:
    lines = [
        '"FormatVersion","v1.0"',
        '"Disclaimer","This pricing list is for informational purposes only."',
        '"Publication Date","2026-11-12T20:14:02Z"',
        '"Version","20261112201402"',
        '"OfferCode","AmazonEC2"',
        ",".join(f'"{name}"' for name in AWS_COLUMNS),
        aws_line("50.0000000000"),
        aws_line("999", **{"Operating System": "Windows"}),
        aws_line("999", Tenancy="Dedicated"),
        aws_line("0.0000000000", CapacityStatus="UnusedCapacityReservation"),
        aws_line("22.0000000000", TermType="Reserved"),
        aws_line("0.0000000000", "p4d.24xlarge"),
        aws_line("0.10", "t3.large"),
    ]

    def answer(request: web.Request) -> web.Response:
        known = request.match_info["region"] == "us-east-1"
        return web.Response(text="\n".join(lines) + "\n") if known else web.Response(status=404)

    async with (
        server("/offers/v1.0/aws/AmazonEC2/current/{region}/index.csv", answer) as address,
        pricing(sqlite_url, socket_dir, ManualClock(wall=NOW), aws_prices=address) as (_, prices),
    ):
        done = await refresh(prices, "aws")
        assert not done.error
        assert (done.counts.changed, done.counts.refused, done.counts.same) == (1, 1, 0)
        (p5,) = await prices.listed(instance_type="p5.48xlarge")
        assert (p5.price_micros_per_hour, p5.as_of, p5.state) == (50_000_000, "2026-11-12", wire.PRICE_STATE_OK)
        assert await cost(prices, "p4d.24xlarge", "us-east-1") > 0
        lines[5] = '"SKU","Price"'
        assert "no column 'CapacityStatus'" in (await refresh(prices, "aws")).error
        lines.clear()
        assert "no columns" in (await refresh(prices, "aws")).error
        assert await cost(prices, "p5.48xlarge", "us-east-1") == 50_000_000


def spot_item(price: str, zone: str, at: str = "2026-11-18T14:00:00.000Z", machine: str = "p5.48xlarge") -> str:
    """One item of DescribeSpotPriceHistory."""
    return (
        f"<item><instanceType>{machine}</instanceType><productDescription>Linux/UNIX</productDescription>"
        f"<spotPrice>{price}</spotPrice><timestamp>{at}</timestamp><availabilityZone>{zone}</availabilityZone></item>"
    )


async def test_aws_spot_prices_are_those_in_force_in_the_cheapest_zone(
    sqlite_url: str, socket_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [
        spot_item("23.500000", "us-east-1a")
        + spot_item("12.000000", "us-east-1a", "2026-11-17T00:00:00.000Z")
        + spot_item("0.1", "us-east-1a", machine="t3.large"),
        spot_item("21.250000", "us-east-1b") + spot_item("no price", "us-east-1c", machine="p4d.24xlarge"),
    ]
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append(str(form["Action"]))
        at = int(str(form.get("NextToken", "0")))
        more = f"<nextToken>{at + 1}</nextToken>" if at + 1 < len(pages) else "<nextToken/>"
        text = (
            '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId>'
            f"<spotPriceHistorySet>{pages[at]}</spotPriceHistorySet>{more}</DescribeSpotPriceHistoryResponse>"
        )
        return web.Response(text=text, content_type="text/xml")

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        point_at(monkeypatch, f"http://127.0.0.1:{runner.addresses[0][1]}", tmp_path)
        async with pricing(sqlite_url, socket_dir, ManualClock(wall=NOW)) as (_, prices):
            done = await refresh(prices, "aws-spot")
            assert not done.error
            assert (done.counts.new, done.counts.refused) == (1, 1)
            assert await cost(prices, "p5.48xlarge", "us-east-1", wire.PRICE_KIND_SPOT) == 21_250_000
            (p5,) = await prices.listed(instance_type="p5.48xlarge", kind=wire.PRICE_KIND_SPOT)
            assert (p5.as_of, p5.source) == ("2026-11-18", "AWS spot history")
            assert (await refresh(prices, "aws-spot", clouds=["azure"])).counts == wire.PriceCounts()
    finally:
        await runner.cleanup()
    assert asked == ["DescribeSpotPriceHistory"] * 2


async def test_a_price_that_the_market_cannot_ask_is_refused_and_no_credentials_are_a_sentence(
    moto: str, sqlite_url: str, socket_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pricing(sqlite_url, socket_dir, ManualClock(wall=NOW)) as (_, prices):
        without_credentials(monkeypatch, tmp_path)
        assert "has no credentials of AWS" in (await refresh(prices, "aws-spot")).error
        forget_all(moto)
        point_at(monkeypatch, moto, tmp_path)
        # moto asks 0.00001 dollars for everything, since 2006.
        done = await refresh(prices, "aws-spot")
        assert done.counts.refused > 0
        assert (done.counts.new, done.counts.changed, done.counts.waits) == (0, 0, 0)
        assert not await prices.listed(instance_type="p5.48xlarge", kind=wire.PRICE_KIND_SPOT)
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        assert "The source aws-spot cannot be asked" in (await refresh(prices, "aws-spot")).error


GPUHUNT = """\
instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor,flags,cpu_arch,provider_data
p5.48xlarge,us-east-1,55.04,192,2048.0,8,H100,80.0,False,,nvidia,,x86,
p5.48xlarge,us-east-1,23.0,192,2048.0,8,H100,80.0,True,,nvidia,,x86,
p5.48xlarge,us-east-1,21.5,192,2048.0,8,H100,80.0,True,,nvidia,,x86,
p5e.48xlarge,us-east-2,0.0,192,2048.0,8,H200,141.0,False,,nvidia,,x86,
p9.48xlarge,us-east-2,10.0,192,2048.0,8,H900,141.0,False,,nvidia,,x86,
g6.xlarge,eu-west-1,0.9,4,16.0,1,L4,24.0,False,,nvidia,,x86,
"""


@pytest.mark.skipif(not importlib.util.find_spec("gpuhunt"), reason="the extra prices (gpuhunt) is not installed")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its file to the collector
async def test_gpuhunt_reads_a_folder_and_the_cheapest_of_one_offer_counts(
    sqlite_url: str, socket_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUHUNT_CATALOG_DIR", str(tmp_path))
    async with pricing(sqlite_url, socket_dir, ManualClock(wall=NOW)) as (_, prices):
        assert "holds no catalogue" in (await refresh(prices, "gpuhunt")).error
        (tmp_path / "aws.csv").write_text(GPUHUNT, "utf-8")
        done = await refresh(prices, "gpuhunt", clouds=["aws"])
        assert not done.error
        assert (done.counts.new, done.counts.same, done.counts.refused) == (2, 1, 1)
        assert "p5e.48xlarge" in {each.price.offer.instance_type for each in done.outcomes}
        assert await cost(prices, "p5.48xlarge", "us-east-1", wire.PRICE_KIND_SPOT) == 21_500_000
        assert await cost(prices, "g6.xlarge", "eu-west-1") == 900_000
        (p5,) = await prices.listed(instance_type="p5.48xlarge", kind=wire.PRICE_KIND_ON_DEMAND)
        # Said again today: as fresh as today.
        assert (p5.price_micros_per_hour, p5.state) == (LIST, wire.PRICE_STATE_OK)
        (tmp_path / "aws.csv").write_text("no,table\n1,2\n", "utf-8")
        assert "The source gpuhunt cannot be asked" in (await refresh(prices, "gpuhunt", clouds=["aws"])).error
    gc.collect()


async def test_without_its_library_a_source_is_named_when_asked_for_and_else_passed_over() -> None:
    class Bare:
        name = "bare"

        async def quotes(self, _: PriceBook, __: object, ___: date) -> list[Any]:
            await asyncio.sleep(0)
            raise not_installed("bare", "barelib")

    class Keeper:
        book = PriceBook()

        def today(self) -> date:
            return date(2026, 11, 18)

    keeper: Any = Keeper()
    known: Any = {"bare": Bare}
    (named,) = await refreshing.refresh(keeper, known, ["bare"], [])
    assert "inferno-mesh[prices]" in named.error
    assert await refreshing.refresh(keeper, known, [], []) == []
