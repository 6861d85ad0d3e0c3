"""Prices of offers on disk: what is known, and what becomes known. Rows are replaced, never deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_governator.prices.book import Known
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote
from inferno_governator.prices.taking import Outcome, Taken
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.schema import Node, OfferPrice, PriceOffer, Series, StreamPosition, table

_OFFER, _PRICE = table(PriceOffer), table(OfferPrice)
_NODE, _SERIES, _DEVICE, _POSITION = table(Node), table(Series), table(DeviceMinute), table(StreamPosition)
_EPOCH = date(1970, 1, 1)
_KEY = ("cloud", "region", "instance_type", "spot")
# Below both databases' bound of parameters.
_CHUNK = 2_000


async def load(connection: AsyncConnection, key: OfferKey | None = None, *, replaced: bool = False) -> list[Known]:
    """The prices that count or wait, in the order in which they became known; also the ``replaced`` ones."""
    query = select(_OFFER, _PRICE).join(_OFFER, _OFFER.c.id == _PRICE.c.offer).order_by(_PRICE.c.id)
    if not replaced:
        query = query.where(_PRICE.c.replaced_micros.is_(None))
    if key is not None:
        query = query.where(_is(key))
    return [_known(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's own name


async def record(connection: AsyncConnection, outcomes: Sequence[Outcome], now_micros: int) -> None:
    """Write what became of prices."""
    known = [each.known for each in outcomes if each.known is not None]
    numbers = await _number(connection, [each.quote.offer for each in known])
    believed = {numbers[_plain(each.quote.offer.key)] for each in known if not each.waits}
    for chunk in _chunks(sorted(believed)):
        waiting = and_(_PRICE.c.offer.in_(chunk), _PRICE.c.waits, _PRICE.c.replaced_micros.is_(None))
        await connection.execute(update(_PRICE).where(waiting).values(replaced_micros=now_micros))
    await _insert(connection, known, numbers)
    for quote in (each.quote for each in outcomes if each.taken is Taken.SAME and each.fresher):
        offer = select(_OFFER.c.id).where(_is(quote.offer.key)).scalar_subquery()
        holds = and_(
            _PRICE.c.offer == offer,
            _PRICE.c.price_micros_per_hour == quote.micros,
            _PRICE.c.as_of_day < _day(quote.as_of),
            ~_PRICE.c.waits,
            _PRICE.c.replaced_micros.is_(None),
        )
        await connection.execute(update(_PRICE).where(holds).values(as_of_day=_day(quote.as_of), source=quote.source))


async def correct(
    connection: AsyncConnection, entries: Sequence[Known], start_minute: int, end_minute: int, now_micros: int
) -> None:
    """Put prices of one offer in the place of those that began within some minutes; the old ones are kept, replaced."""
    key = entries[0].quote.offer.key
    numbers = await _number(connection, [entries[0].quote.offer])
    within = and_(
        _PRICE.c.offer == numbers[_plain(key)],
        or_(
            _PRICE.c.waits,
            and_(_PRICE.c.from_minute >= start_minute, _PRICE.c.from_minute < end_minute),
        ),
        _PRICE.c.replaced_micros.is_(None),
    )
    await connection.execute(update(_PRICE).where(within).values(replaced_micros=now_micros))
    await _insert(connection, entries, numbers)


async def present(connection: AsyncConnection, since_micros: int) -> set[int]:
    """The numbers of nodes of which something was stored since a time."""
    query = select(_POSITION.c.node).where(_POSITION.c.stored_micros >= since_micros).distinct()
    return {number for (number,) in await connection.execute(query)}


async def watts(connection: AsyncConnection, since_minute: int) -> dict[str, int]:
    """The mean power of each node's devices since a minute, in watts, where they measure it."""
    energy, window = func.sum(_DEVICE.c.energy_millijoules), func.sum(_DEVICE.c.window_micros)
    found = await connection.execute(
        select(_NODE.c.name, _SERIES.c.id, energy, window)
        .join(_SERIES, _SERIES.c.id == _DEVICE.c.series)
        .join(_NODE, _NODE.c.id == _SERIES.c.node)
        .where(_DEVICE.c.minute >= since_minute)
        .group_by(_NODE.c.name, _SERIES.c.id)
    )
    power: dict[str, int] = {}
    for name, _, millijoules, micros in found:
        if millijoules and micros:
            power[name] = power.get(name, 0) + round(int(millijoules) * 1000 / int(micros))
    return power


async def _number(connection: AsyncConnection, offers: Iterable[Offer]) -> dict[OfferKey, int]:
    """The numbers of offers; those never seen before are created. The case of an instance type makes no other offer."""
    wanted = {_plain(each.key): each for each in offers}
    numbers = await _numbers(connection) if wanted else {}
    missing = [_offer_row(offer) for key, offer in wanted.items() if key not in numbers]
    if missing:
        for chunk in _chunks(missing):
            await connection.execute(_OFFER.insert(), chunk)
        numbers = await _numbers(connection)
    return numbers


async def _numbers(connection: AsyncConnection) -> dict[OfferKey, int]:
    found = await connection.execute(select(_OFFER.c.id, *(_OFFER.c[name] for name in _KEY)))
    return {
        _plain(OfferKey(cloud, region, instance_type, _kind(spot))): number
        for number, cloud, region, instance_type, spot in found
    }


async def _insert(connection: AsyncConnection, known: Sequence[Known], numbers: dict[OfferKey, int]) -> None:
    rows = [
        {
            "offer": numbers[_plain(each.quote.offer.key)],
            "from_minute": each.from_minute,
            "price_micros_per_hour": each.quote.micros,
            "as_of_day": _day(each.quote.as_of),
            "source": each.quote.source,
            "seen_micros": each.seen_micros,
            "waits": each.waits,
        }
        for each in known
    ]
    for chunk in _chunks(rows):
        await connection.execute(_PRICE.insert(), chunk)


def _chunks(rows: Sequence[Any]) -> Iterable[list[Any]]:
    return (list(rows[at : at + _CHUNK]) for at in range(0, len(rows), _CHUNK))


def _offer_row(offer: Offer) -> dict[str, Any]:
    key = offer.key
    return {
        "cloud": key.cloud,
        "region": key.region,
        "instance_type": key.instance_type,
        "spot": key.kind is Kind.SPOT,
        "gpu": offer.gpu,
        "gpu_count": offer.gpu_count,
        "gpu_memory_gb": offer.gpu_memory_gb,
        "vcpus": offer.vcpus,
        "memory_gb": offer.memory_gb,
    }


def _known(row: Any) -> Known:
    key = OfferKey(row["cloud"], row["region"], row["instance_type"], _kind(row["spot"]))
    offer = Offer(key, row["gpu"], row["gpu_count"], row["gpu_memory_gb"], row["vcpus"], row["memory_gb"])
    day = _EPOCH + timedelta(days=row["as_of_day"])
    quote = Quote(offer, row["price_micros_per_hour"], day, row["source"])
    return Known(quote, row["from_minute"], row["seen_micros"], bool(row["waits"]), row["replaced_micros"])


def _is(key: OfferKey) -> ColumnElement[bool]:
    plain = _plain(key)
    return and_(
        _OFFER.c.cloud == plain.cloud,
        _OFFER.c.region == plain.region,
        func.lower(_OFFER.c.instance_type) == plain.instance_type,
        _OFFER.c.spot == (plain.kind is Kind.SPOT),
    )


def _plain(key: OfferKey) -> OfferKey:
    return key._replace(instance_type=key.instance_type.lower())


def _kind(spot: Any) -> Kind:
    return Kind.SPOT if spot else Kind.ON_DEMAND


def _day(day: date) -> int:
    return (day - _EPOCH).days
