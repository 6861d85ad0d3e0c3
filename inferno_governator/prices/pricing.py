"""Which price a node has, and why. Pure: nodes, prices and terms in, a price for each node out.

The order, first match wins: the price of one's own file for this node; what the node's agent was told; hardware of
one's own; a commitment that covers it; the list price of its machine less a discount; an estimate by its GPUs; nothing,
which costs zero and is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from fnmatch import fnmatchcase
from typing import NamedTuple

from inferno_governator.analysis.commitments import Term
from inferno_governator.money import apportion
from inferno_governator.prices import gpus
from inferno_governator.prices.book import PriceBook
from inferno_governator.prices.offers import Kind, OfferKey, cloud_of
from inferno_governator.prices.overlay import Commitment, Overlay
from inferno_governator.usage import Facts

_WHOLE = 10_000


class Origin(Enum):
    """Where a node's price comes from."""

    NODE = "node"
    REPORTED = "reported"
    OWNED = "owned"
    RESERVATION = "reservation"
    SAVINGS_PLAN = "savings_plan"
    CATALOGUE = "catalogue"
    ESTIMATE = "estimate"
    # Nobody knows what it costs: it is billed at zero.
    UNPRICED = "unpriced"


class Priced(NamedTuple):
    """A node's price in micro-dollars an hour, where it is from, and why, in words.

    ``committed`` is the part of the price that uses up a ``commitment``, by its name.
    """

    micros: int
    origin: Origin
    reason: str
    commitment: str = ""
    committed: int = 0


@dataclass(frozen=True, slots=True)
class CommitmentUse:
    """How much of a commitment is used now. ``used_micros`` and ``unused_micros`` add up to its price of an hour."""

    commitment: Commitment
    nodes: tuple[str, ...]
    used_micros: int

    @property
    def unused_micros(self) -> int:
        """What is paid for nothing, an hour."""
        return self.commitment.micros - self.used_micros


def price_fleet(
    nodes: Mapping[str, Facts], minute: int, book: PriceBook, overlay: Overlay, watts: Mapping[str, int]
) -> tuple[dict[str, Priced], list[CommitmentUse]]:
    """The price of every node in a minute, and how the commitments are used.

    Args:
        nodes: Nodes that run, with what their agents say of them (``reported`` is the agent's price).
        minute: Unix minute.
        book: Prices of offers.
        overlay: One's own terms.
        watts: Measured power of nodes, where it is known.
    """
    priced = {name: _alone(name, facts, minute, book, overlay, watts.get(name)) for name, facts in nodes.items()}
    uses: list[CommitmentUse] = []
    # Whom a commitment covers must not depend on who came first, or prices would change with every restart.
    free = [name for name in sorted(nodes) if priced[name].origin in _COVERABLE]
    for commitment in _lasting(overlay, minute):
        fit = [name for name in free if commitment.scope.covers(nodes[name])]
        covered, used = (_reserve if commitment.count else _spend)(commitment, fit, priced)
        priced |= covered
        free = [name for name in free if name not in covered]
        uses.append(CommitmentUse(commitment, tuple(covered), used))
    return priced, uses


def in_force(overlay: Overlay, minute: int) -> dict[str, Term]:
    """What each commitment costs in a minute, used or not, and what it is about, by its name."""
    return {
        each.name: Term(
            minute,
            Facts(
                each.micros,
                region=_exact(each.scope.region),
                instance_type=_exact(each.scope.instance_type),
                provider=_exact(each.scope.cloud),
                origin=(Origin.RESERVATION if each.count else Origin.SAVINGS_PLAN).value,
                commitment=each.name,
                committed=each.micros,
            ),
            each.count,
        )
        for each in _lasting(overlay, minute)
    }


def _lasting(overlay: Overlay, minute: int) -> list[Commitment]:
    day = datetime.fromtimestamp(minute * 60, UTC).date()
    return [each for each in overlay.commitments if each.start <= day < each.end]


def _exact(pattern: str) -> str:
    """What a pattern stands for, where it is one thing alone."""
    return "" if any(letter in pattern for letter in "*?[") else pattern


_COVERABLE = frozenset({Origin.CATALOGUE, Origin.ESTIMATE, Origin.UNPRICED})


_Covered = tuple[dict[str, Priced], int]


def _reserve(commitment: Commitment, fit: list[str], _: Mapping[str, Priced]) -> _Covered:
    shares = apportion(commitment.micros, [1] * commitment.count)
    covered = {
        name: Priced(
            share, Origin.RESERVATION, f"It is covered by the reservation {commitment.name}.", commitment.name, share
        )
        for name, share in zip(fit, shares, strict=False)
    }
    return covered, sum(each.micros for each in covered.values())


def _spend(commitment: Commitment, fit: list[str], priced: Mapping[str, Priced]) -> _Covered:
    covered: dict[str, Priced] = {}
    left = commitment.micros
    for name in fit:
        full = priced[name].micros
        rate = _less(full, commitment.basis_points)
        if not left or not rate:
            continue
        # Where the rest does not reach, the part of the machine that it leaves costs the list price.
        spent = min(rate, left)
        price = spent + full * (rate - spent) // rate
        reason = f"It is covered by the savings plan {commitment.name}."
        covered[name] = Priced(price, Origin.SAVINGS_PLAN, reason, commitment.name, spent)
        left -= spent
    return covered, commitment.micros - left


def _alone(
    name: str, facts: Facts, minute: int, book: PriceBook, overlay: Overlay, measured_watts: int | None
) -> Priced:
    for own in overlay.nodes:
        if fnmatchcase(name, own.nodes):
            return Priced(own.micros, Origin.NODE, f"The file of prices says so for nodes {own.nodes!r}.")
    if facts.reported:
        return Priced(facts.reported, Origin.REPORTED, "Its agent was told so (price_per_hour).")
    for owned in overlay.owned:
        if fnmatchcase(name, owned.nodes):
            price = owned.micros(measured_watts)
            if price is None:
                return Priced(0, Origin.UNPRICED, "It is owned, and its power is not yet measured.")
            return Priced(price, Origin.OWNED, f"It is owned: depreciation, hosting and energy of {owned.nodes!r}.")
    return _listed(facts, minute, book, overlay)


def _listed(facts: Facts, minute: int, book: PriceBook, overlay: Overlay) -> Priced:
    cloud, region = cloud_of(facts.provider), facts.region.lower()
    kind = Kind.SPOT if facts.spot else Kind.ON_DEMAND
    key = OfferKey(cloud, region, facts.instance_type, kind)
    known = book.find(key, minute) if facts.instance_type else None
    points = next((each.basis_points for each in overlay.discounts if each.scope.covers(facts)), 0)
    off = f", less {points / 100:g} %" if points else ""
    if known:
        quote = known.quote
        reason = f"{quote.offer.key} as of {quote.as_of} by {quote.source}{off}."
        return Priced(_less(quote.micros, points), Origin.CATALOGUE, reason)
    gpu = gpus.of_device(facts.device)
    if gpu is None or not facts.gpu_count:
        return Priced(0, Origin.UNPRICED, f"No price is known of {_called(facts)}.")
    near = book.gpu_micros(gpu.name, kind, minute, cloud, region)
    if near is None:
        return Priced(0, Origin.UNPRICED, f"No {kind.value} price is known of any {gpu.name}.")
    micros, where = near
    reason = (
        f"No price is known of {_called(facts)}: {facts.gpu_count} times the median of one {gpu.name} {where}{off}."
    )
    return Priced(_less(micros * facts.gpu_count, points), Origin.ESTIMATE, reason)


def _called(facts: Facts) -> str:
    machine = facts.instance_type or "a machine without an instance type"
    return f"{machine} in {facts.provider or 'an unknown cloud'} {facts.region}".strip()


def _less(micros: int, basis_points: int) -> int:
    return micros * (_WHOLE - basis_points) // _WHOLE
