"""Machines of the price list that a plan may rent: only those whose price may be acted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from inferno_governator.plan.question import Machine
from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Kind, OfferKey, cloud_of
from inferno_governator.prices.overlay import Overlay
from inferno_governator.prices.pricing import price_fleet
from inferno_governator.prices.rules import Rules, State, aged
from inferno_governator.usage import Facts
from inferno_runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Choice:
    """Which machines may be rented; an empty set is no bound. ``any_age``: also at prices too old to act on."""

    clouds: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    gpus: frozenset[str] = frozenset()
    instance_types: frozenset[str] = frozenset()
    spot: bool = False
    most: int | None = None
    any_age: bool = False

    def takes(self, key: OfferKey, gpu: str) -> bool:
        """An offer is within it."""
        return (
            (self.spot or key.kind is not Kind.SPOT)
            and (not self.clouds or key.cloud in self.clouds)
            and (not self.regions or key.region in self.regions)
            and (not self.gpus or gpu.lower() in self.gpus)
            and (not self.instance_types or key.instance_type.lower() in self.instance_types)
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """What the price list offers: machines with the day of each price, by its place among them; and what was left out
    because it is too old."""

    machines: tuple[Machine, ...]
    days: Mapping[Machine, date]
    stale: int


def listed(book: PriceBook, minute: int, today: date, rules: Rules, overlay: Overlay, chosen: Choice) -> Listed:
    """The machines of a choice at their prices of a minute, less discounts; commitments cover nodes, not offers."""
    terms = Overlay(discounts=overlay.discounts)
    machines: list[Machine] = []
    days: dict[Machine, date] = {}
    stale = 0
    for entry in book.entries():
        offer, known = entry.offer, entry.at(minute)
        if known is None or not chosen.takes(offer.key, offer.gpu):
            continue
        if aged(known.quote, today, rules).state is State.STALE and not chosen.any_age:
            stale += 1
            continue
        key = offer.key
        facts = Facts(
            0,
            region=key.region,
            instance_type=key.instance_type,
            spot=key.kind is Kind.SPOT,
            provider=cloud_of(key.cloud),
        )
        priced, _ = price_fleet({"": facts}, minute, book, terms, {})
        machine = Machine(
            key.instance_type,
            key.cloud,
            key.region,
            priced[""].micros,
            offer.gpu,
            offer.gpu_count,
            offer.gpu_memory_gb,
            facts.spot,
            chosen.most,
        )
        if machine.micros > 0:
            machines.append(machine)
            days[machine] = known.quote.as_of
    return Listed(tuple(machines), days, stale)


def none_left(stale: int, rules: Rules) -> InvalidInput:
    """The refusal where prices there are, but none that may be acted on."""
    if stale:
        return InvalidInput(
            f"None of the {stale} prices that fit may be acted on: all are older than {rules.max_age_days} days.",
            reason="STALE_PRICES",
            fix="Refresh them (inferno price refresh), or allow any age (any_age).",
        )
    return InvalidInput(
        "There is no offer to choose from.", reason="NO_OFFER", fix="Widen the choice; inferno price ls shows prices."
    )
