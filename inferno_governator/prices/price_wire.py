"""Prices between the wire and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date

from google.protobuf.timestamp_pb2 import Timestamp

from inferno.governance.v1 import price_pb2 as wire
from inferno_governator.prices import gpus, rules
from inferno_governator.prices.book import Known, PriceBook
from inferno_governator.prices.offers import Kind, Offer, OfferKey, Quote
from inferno_governator.prices.rules import Rules, State, Verdict
from inferno_governator.prices.taking import Outcome, Taken
from inferno_runtime.errors import InvalidInput

_KINDS = {Kind.ON_DEMAND: wire.PRICE_KIND_ON_DEMAND, Kind.SPOT: wire.PRICE_KIND_SPOT}
_KINDS_BACK = {number: kind for kind, number in _KINDS.items()}
_STATES = {
    State.OK: wire.PRICE_STATE_OK,
    State.STALE: wire.PRICE_STATE_STALE,
    State.JUMPED: wire.PRICE_STATE_JUMPED,
    State.REFUSED: wire.PRICE_STATE_REFUSED,
}
# Outcomes in one answer.
MOST_OUTCOMES = 1_000
_LONGEST = 256


def key(offer: wire.Offer) -> OfferKey:
    """What an offer on the wire is called.

    Raises:
        InvalidInput: Something of it is missing.
    """
    for name in ("cloud", "region", "instance_type"):
        text = getattr(offer, name)
        if not text or len(text) > _LONGEST or not text.isprintable():
            raise _bad(f"offer.{name} is empty, too long or holds control characters")
    kind = _KINDS_BACK.get(offer.kind, Kind.ON_DEMAND)
    return OfferKey(offer.cloud.lower(), offer.region.lower(), offer.instance_type, kind)


def machine(offer: wire.Offer, book: PriceBook) -> Offer:
    """An offer with its GPUs, as they are given or, where they are not, as they are known of the same machine.

    Raises:
        InvalidInput: Something of it is missing or not valid.
    """
    called = key(offer)
    if not offer.gpu:
        wanted = called.instance_type.lower()
        for entry in book.entries():
            other = entry.offer
            if other.key.cloud == called.cloud and other.key.instance_type.lower() == wanted:
                counts = (other.gpu_count, other.gpu_memory_gb, other.vcpus, other.memory_gb)
                return Offer(called._replace(instance_type=other.key.instance_type), other.gpu, *counts)
        raise _bad("offer.gpu is empty, and no offer of this machine is known", "Say which GPUs it has, and how many.")
    gpu = gpus.known(offer.gpu)
    if gpu is None:
        names = ", ".join(sorted(each.name for each in gpus.GPUS))
        raise _bad(f"offer.gpu {offer.gpu[:40]!r} is not known", f"Use one of {names}.")
    if not 1 <= offer.gpu_count <= 1_000_000:
        raise _bad("offer.gpu_count is not at least 1")
    return Offer(called, gpu.name, offer.gpu_count, offer.gpu_memory_gb, offer.vcpus, offer.memory_gb)


def named(request: wire.SetPriceRequest, book: PriceBook, today: date) -> Quote:
    """The price that somebody sets.

    Raises:
        InvalidInput: Something of it is missing or not valid.
    """
    try:
        day = date.fromisoformat(request.as_of) if request.as_of else today
    except ValueError:
        raise _bad(f"as_of {request.as_of[:40]!r} is no day such as 2026-07-20") from None
    source = request.source or "set by hand"
    if len(source) > _LONGEST or not source.isprintable():
        raise _bad("source is too long or holds control characters")
    return Quote(machine(request.offer, book), request.price_micros_per_hour, day, source)


def encode(quote: Quote, verdict: Verdict, known: Known | None = None) -> wire.Price:
    """A price with what it is good for."""
    offer = quote.offer
    price = wire.Price(
        offer=wire.Offer(
            cloud=offer.key.cloud,
            region=offer.key.region,
            instance_type=offer.key.instance_type,
            kind=_KINDS[offer.key.kind],
            gpu=offer.gpu,
            gpu_count=offer.gpu_count,
            gpu_memory_gb=offer.gpu_memory_gb,
            vcpus=offer.vcpus,
            memory_gb=offer.memory_gb,
        ),
        price_micros_per_hour=quote.micros,
        gpu_price_micros_per_hour=quote.gpu_micros,
        as_of=quote.as_of.isoformat(),
        source=quote.source,
        state=_STATES[verdict.state],
        reason=verdict.reason,
    )
    if known is not None:
        price.first_seen_time.FromMicroseconds(known.seen_micros)
        price.effective_time.FromSeconds(known.from_minute * 60)
        if known.replaced_micros is not None:
            price.replaced_time.FromMicroseconds(known.replaced_micros)
    return price


def listed(book: PriceBook, minute: int, today: date, bounds: Rules) -> list[wire.Price]:
    """Every price that is in force in a minute, and those that wait."""
    prices = []
    for entry in book.entries():
        current = entry.at(minute)
        if current:
            prices.append(encode(current.quote, rules.aged(current.quote, today, bounds), current))
        prices += [encode(waits.quote, waiting(waits, current, bounds), waits) for waits in entry.waiting]
    return prices


def waiting(known: Known, current: Known | None, bounds: Rules) -> Verdict:
    """What is said of a price that was set aside."""
    reason = rules.jump(known.quote.micros, current.quote.micros, bounds) if current else ""
    return Verdict(State.JUMPED, reason)


def chosen(request: wire.ListPricesRequest) -> Callable[[wire.Price], bool]:
    """Which prices are asked for."""

    def fits(price: wire.Price) -> bool:
        offer = price.offer
        return (
            request.gpu.lower() in ("", offer.gpu.lower())
            and request.cloud.lower() in ("", offer.cloud)
            and (not request.region or offer.region in (request.region.lower(), "*"))
            and request.kind in (wire.PRICE_KIND_UNSPECIFIED, offer.kind)
            and request.instance_type.lower() in ("", offer.instance_type.lower())
            and request.state in (wire.PRICE_STATE_UNSPECIFIED, price.state)
            and (not request.max_gpu_price_micros or price.gpu_price_micros_per_hour <= request.max_gpu_price_micros)
        )

    return fits


def order(price: wire.Price) -> tuple[int, str, str, str, int, int]:
    """Cheapest GPU first, and always the same order."""
    offer = price.offer
    return (price.gpu_price_micros_per_hour, offer.cloud, offer.region, offer.instance_type, offer.kind, price.state)


def outcome(made: Outcome, line: int = 0) -> wire.PriceOutcome:
    """What became of a price."""
    return wire.PriceOutcome(
        line=line,
        price=encode(made.quote, made.verdict, made.known),
        taken=made.taken.value,
        previous_micros_per_hour=made.previous.micros if made.previous else 0,
        reason=made.verdict.reason,
    )


def counts(outcomes: Iterable[Outcome], bad: int = 0) -> wire.PriceCounts:
    """How many of each there are."""
    number = Counter(each.taken for each in outcomes)
    return wire.PriceCounts(
        new=number[Taken.NEW],
        changed=number[Taken.CHANGED],
        same=number[Taken.SAME],
        waits=number[Taken.WAITS],
        refused=number[Taken.REFUSED] + bad,
    )


def minute_of(time: Timestamp) -> int:
    """The Unix minute of a time, rounded down."""
    return int(time.ToDatetime(UTC).timestamp() // 60)


def _bad(why: str, fix: str = "") -> InvalidInput:
    return InvalidInput(f"The price is refused: {why}.", reason="BAD_PRICE", fix=fix or "Mend the request.")
