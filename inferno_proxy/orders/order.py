"""An operator's order as a value: what it is about, what it says, who gave it when, and until when it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from inferno_proxy.routing.caps import Cap
from inferno_proxy.routing.steering import Steering

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Kind(StrEnum):
    """What is ordered; mirrors ``inferno.mesh.v1.OrderKind``."""

    NODE_WEIGHT = "node weight"
    NODE_QUARANTINE = "node quarantine"
    SPLIT = "split"
    LIMIT = "limit"
    MODEL_QUARANTINE = "model quarantine"
    CAP = "cap"

    @property
    def patches(self) -> bool:
        """True when it changes settings of a model."""
        return self in (Kind.SPLIT, Kind.LIMIT)

    @property
    def of_node(self) -> bool:
        """True when its subject is a node, otherwise it is a model or, of a cap, whose calls they are."""
        return self in (Kind.NODE_WEIGHT, Kind.NODE_QUARANTINE)


Key = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Order:
    """One order. There is one of each kind for a ``subject`` (a node_id, a model, or whose calls a cap is about): a
    later one takes its place.

    ``at`` and ``expires`` are Unix seconds; one that never expires has None. ``factor`` is that of NODE_WEIGHT.
    ``patch`` is what SPLIT and LIMIT lay over ``proxy.models.SUBJECT`` in the settings, in the settings' own words; of
    a CAP it holds the ``team``, ``key`` and ``model``.
    """

    kind: Kind
    subject: str
    by: str
    at: float
    reason: str = ""
    expires: float | None = None
    factor: float = 1.0
    patch: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @property
    def key(self) -> Key:
        """What only one order has."""
        return self.kind, self.subject

    def sentence(self) -> str:
        """What holds, by whose word and why, without a full stop.

        >>> Order(Kind.NODE_WEIGHT, "n1", "operator ada", 0.0, "it is new", factor=0.5).sentence()
        'operator ada ordered 0.5 times the weight (it is new)'
        """
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.by} ordered {self.what()}{why}"

    def what(self) -> str:
        """What it says."""
        match self.kind:
            case Kind.NODE_WEIGHT:
                return f"{self.factor:g} times the weight"
            case Kind.SPLIT:
                split = self.patch["split"]
                shares = ", ".join(f"{name} {share} %" for name, share in sorted(split["weights"].items()))
                return f"shares by {split['by'].removeprefix('label:')}: {shares}"
            case Kind.LIMIT:
                return " and ".join(_limits(self.patch))
            case Kind.CAP:
                return "that its calls are refused"
            case _:
                return "that it takes no calls"


def _limits(patch: Mapping[str, Any]) -> Iterable[str]:
    if rate := patch.get("rate"):
        yield f"at most {rate['calls']} calls in {rate.get('seconds', 1):g} s per {rate.get('per', 'model')}"
    if most := patch.get("max_concurrency"):
        yield f"at most {most} calls under way"


Book = Mapping[Key, Order]
EMPTY: Book = MappingProxyType({})


def with_order(book: Book, order: Order) -> Book:
    """The orders with one more, or another in the place of the one before."""
    return MappingProxyType({**book, order.key: order})


def without(book: Book, keys: Iterable[Key]) -> Book:
    """The orders that are left."""
    gone = frozenset(keys)
    return MappingProxyType({key: order for key, order in book.items() if key not in gone})


def expired(book: Book, now: float) -> list[Key]:
    """What no longer holds at ``now`` (Unix seconds)."""
    return [key for key, order in book.items() if order.expires is not None and order.expires <= now]


def steering(book: Book) -> Steering:
    """What follows for the plan at once."""
    factors = {name: order.factor for (kind, name), order in book.items() if kind is Kind.NODE_WEIGHT}
    nodes = frozenset(name for kind, name in book if kind is Kind.NODE_QUARANTINE)
    models = frozenset(name for kind, name in book if kind is Kind.MODEL_QUARANTINE)
    caps = tuple(sorted(cap(order) for (kind, _), order in book.items() if kind is Kind.CAP))
    return Steering(MappingProxyType(factors), nodes, models, caps)


def cap(order: Order) -> Cap:
    """What a CAP says to the plan."""
    until = order.expires or order.at
    moment = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    why = f": {order.reason}" if order.reason else ""
    sentence = f"calls of {order.subject} are refused until {moment}{why}"
    return Cap(order.patch["team"], order.patch["key"], order.patch["model"], sentence, until)
