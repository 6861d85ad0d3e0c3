"""Offers of GPU machines and what they cost, as values. Money is in millionths of a US dollar an hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import Enum
from typing import NamedTuple

from inferno_runtime.errors import InvalidInput

# Names by which agents and people call the same cloud.
_CLOUDS = {"google": "gcp", "amazon": "aws", "ec2": "aws"}
# The region of an offer that costs the same in every region of its cloud.
ANYWHERE = "*"
# No machine costs as much: a price beyond it is a mistake of units.
_MOST_MICROS = 10**12


class Kind(Enum):
    """How a machine is rented."""

    ON_DEMAND = "on_demand"
    # The provider may take it back at any time.
    SPOT = "spot"


class OfferKey(NamedTuple):
    """What tells an offer from all others. Clouds and regions are in lower case."""

    cloud: str
    region: str
    instance_type: str
    kind: Kind

    def __str__(self) -> str:
        spot = " spot" if self.kind is Kind.SPOT else ""
        return f"{self.instance_type}{spot} in {self.cloud} {self.region}"


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine that a cloud rents out. ``vcpus`` and ``memory_gb`` are 0 where nobody says."""

    key: OfferKey
    gpu: str
    gpu_count: int
    gpu_memory_gb: int
    vcpus: int = 0
    memory_gb: int = 0


@dataclass(frozen=True, slots=True)
class Quote:
    """A price of an offer: who said it, and of which day."""

    offer: Offer
    micros: int
    as_of: date
    source: str

    @property
    def gpu_micros(self) -> int:
        """The price of one of its GPUs, rounded to the nearest."""
        return (2 * self.micros + self.offer.gpu_count) // (2 * self.offer.gpu_count)


def cloud_of(provider: str) -> str:
    """The catalogue's name of a provider.

    >>> cloud_of("AWS"), cloud_of("google")
    ('aws', 'gcp')
    """
    name = provider.strip().lower()
    return _CLOUDS.get(name, name)


def micros(text: str) -> int:
    """US dollars in decimal notation as millionths, rounded half up.

    Raises:
        InvalidInput: It is no number, or beyond any price.

    >>> micros("6.88"), micros("0.0000005")
    (6880000, 1)
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise _no_price(text) from None
    if not value.is_finite() or abs(value) * 1_000_000 > _MOST_MICROS:
        raise _no_price(text)
    return int((value * 1_000_000).to_integral_value(ROUND_HALF_UP))


def dollars(amount: int) -> str:
    """Millionths of a US dollar in decimal notation, exactly.

    >>> dollars(6_880_000), dollars(1), dollars(32_000_000)
    ('6.88', '0.000001', '32')
    """
    text = f"{Decimal(amount) / 1_000_000:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _no_price(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:40]!r} is no price in US dollars.", reason="BAD_PRICE", fix="Write a decimal number such as 6.88."
    )
