"""Prices, as the governator has them and people read them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from inferno.governance.v1 import price_pb2 as wire
from inferno_cli import governing
from inferno_cli.asking import Asked
from inferno_cli.period import moment
from inferno_runtime.errors import InvalidInput, NotFound

STATES = {
    wire.PRICE_STATE_OK: "ok",
    wire.PRICE_STATE_STALE: "stale",
    wire.PRICE_STATE_JUMPED: "jumped",
    wire.PRICE_STATE_REFUSED: "refused",
}
_PAGE = 1_000
_WHAT = "prices"


def micros(text: str) -> int:
    """US dollars as millionths.

    Raises:
        InvalidInput: It is no number.

    >>> micros("6.88")
    6880000
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or abs(value) > 1_000_000:
        raise InvalidInput(f"{text!r} is no price in US dollars.", reason="BAD_PRICE", fix="Write it like 6.88.")
    return round(value * 1_000_000)


def offer(
    cloud: str,
    region: str,
    instance_type: str,
    spot: bool,
    gpu: str = "",
    gpu_count: int = 0,
    gpu_memory_gb: int = 0,
) -> wire.Offer:
    """An offer by what it is called, and its GPUs where they are given."""
    made = wire.Offer(cloud=cloud, region=region, instance_type=instance_type)
    made.kind = wire.PRICE_KIND_SPOT if spot else wire.PRICE_KIND_ON_DEMAND
    if gpu:
        made.gpu, made.gpu_count, made.gpu_memory_gb = gpu, gpu_count, gpu_memory_gb
    return made


def wanted(
    gpu: str, cloud: str, region: str, instance_type: str, spot: bool | None, max_price: str | None, state: str | None
) -> wire.ListPricesRequest:
    """Which prices to show."""
    request = wire.ListPricesRequest(gpu=gpu, cloud=cloud, region=region, instance_type=instance_type, page_size=_PAGE)
    if spot is not None:
        request.kind = wire.PRICE_KIND_SPOT if spot else wire.PRICE_KIND_ON_DEMAND
    if max_price is not None:
        request.max_gpu_price_micros = micros(max_price)
    if state is not None:
        request.state = next(number for number, name in STATES.items() if name == state)
    return request


def listed(asked: Asked, request: wire.ListPricesRequest) -> list[wire.Price]:
    """All pages of prices."""

    async def pages(stub: Any) -> list[wire.Price]:
        prices: list[wire.Price] = []
        while True:
            page = await stub.ListPrices(request, timeout=asked.timeout)
            prices += page.prices
            if not page.next_page_token:
                return prices
            request.page_token = page.next_page_token

    return governing.ask(asked, pages, _WHAT)


def nodes(asked: Asked) -> wire.ListNodePricesResponse:
    """What nodes cost."""
    request = wire.ListNodePricesRequest()
    answer: wire.ListNodePricesResponse = governing.ask(
        asked, lambda stub: stub.ListNodePrices(request, timeout=asked.timeout), _WHAT
    )
    return answer


def history(asked: Asked, one: wire.Offer) -> Sequence[wire.Price]:
    """What one offer cost when."""
    request = wire.ListPriceHistoryRequest(offer=one)
    answer: wire.ListPriceHistoryResponse = governing.ask(
        asked, lambda stub: stub.ListPriceHistory(request, timeout=asked.timeout), _WHAT
    )
    return answer.prices


def setting(one: wire.Offer, usd: str, period: tuple[str | None, str | None], *, confirm: bool) -> wire.SetPriceRequest:
    """What to set; ``period`` is the time to bill again, as it was written."""
    request = wire.SetPriceRequest(offer=one, price_micros_per_hour=micros(usd), confirm=confirm)
    for text, field in zip(period, (request.start, request.end), strict=True):
        if text is not None:
            field.FromDatetime(moment(text))
    return request


def put(asked: Asked, request: wire.SetPriceRequest) -> wire.SetPriceResponse:
    """Set a price."""
    answer: wire.SetPriceResponse = governing.ask(
        asked, lambda stub: stub.SetPrice(request, timeout=asked.timeout), _WHAT
    )
    return answer


def read(file: Path) -> str:
    """The text of a table.

    Raises:
        NotFound, InvalidInput: There is no such file, or it is no text.
    """
    try:
        return file.read_text("utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"The file {file} does not exist.", reason="NO_FILE", fix="Name another.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"The file {file} cannot be read as text in UTF-8.", reason="BAD_FILE", fix="Check it, and its rights."
        ) from error


def take_in(asked: Asked, text: str, confirm: bool) -> wire.ImportPricesResponse:
    """Import a table."""
    request = wire.ImportPricesRequest(csv=text, confirm=confirm)
    answer: wire.ImportPricesResponse = governing.ask(
        asked, lambda stub: stub.ImportPrices(request, timeout=asked.timeout), _WHAT
    )
    return answer


def refresh(asked: Asked, sources: Sequence[str], clouds: Sequence[str], confirm: bool) -> wire.RefreshPricesResponse:
    """Ask for live prices."""
    request = wire.RefreshPricesRequest(sources=sources, clouds=clouds, confirm=confirm)
    answer: wire.RefreshPricesResponse = governing.ask(
        asked, lambda stub: stub.RefreshPrices(request, timeout=asked.timeout), _WHAT
    )
    return answer
