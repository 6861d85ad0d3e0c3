"""What an operator may choose about the calls of one model. Frozen values; nothing here knows Envoy or gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

# The entry that holds for every model without one of its own.
EVERY_MODEL = "*"


class Balance(StrEnum):
    """How one endpoint of several is chosen."""

    LEAST_REQUEST = "least_request"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    RING_HASH = "ring_hash"
    MAGLEV = "maglev"

    @property
    def hashes(self) -> bool:
        """True when equal keys go to one node."""
        return self in (Balance.RING_HASH, Balance.MAGLEV)

    @property
    def ramps(self) -> bool:
        """True when a new node's share can grow bit by bit."""
        return self in (Balance.LEAST_REQUEST, Balance.ROUND_ROBIN)


# A group is named after the newest ready version of the model; any other key is a node's label.
VERSION = "@version"


@dataclass(frozen=True, slots=True)
class Split:
    """Calls in proportion: ``weights`` holds each group's share. ``by`` is the label that names a node's group, or
    :data:`VERSION`."""

    by: str
    weights: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Mirror:
    """Copies of ``percent`` of the calls go to the group ``to``; nobody waits for their answers."""

    by: str
    to: str
    percent: float = 100.0


class Per(StrEnum):
    """Who shares one rate limit."""

    MODEL = "model"
    ADDRESS = "address"
    HEADER = "header"


class Scope(StrEnum):
    """Where a rate limit is counted: in each proxy by itself, or in a service that all of them ask."""

    PROXY = "proxy"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``calls`` in ``seconds``, for all callers of a model or for each: by address, or by the value of
    ``header`` (lower case). A limit of global ``scope`` holds in each proxy as well."""

    calls: int
    seconds: float = 1.0
    per: Per = Per.MODEL
    header: str = ""
    scope: Scope = Scope.PROXY


@dataclass(frozen=True, slots=True)
class Traffic:
    """How calls of one model are treated.

    ``hash_on`` is the key of ``ring_hash`` and ``maglev``: a request header's name in lower case, or empty for the
    caller's address. ``timeout`` bounds a call with one answer, ``stream_timeout`` a stream, both in seconds over all
    tries; 0 is no bound but the caller's own. ``retries`` counts further tries. ``repeatable``: a call may run a second
    time when its node dies under it (a stateful model's never does). After ``hedge_after`` seconds without an answer it
    is sent to another node as well; 0: never.
    ``max_concurrency`` bounds the calls under way, gRPC and REST apart; 0 is no bound. A node that is new takes its
    full share of the calls only after ``slow_start`` seconds. A request has at most ``max_request_bytes``, all requests
    of one gRPC stream together ``max_stream_bytes``; 0 is no bound. ``learn``: shares of nodes, hedge delays and limits
    follow what data planes observe.
    """

    balance: Balance = Balance.LEAST_REQUEST
    hash_on: str = ""
    timeout: float = 0.0
    stream_timeout: float = 0.0
    retries: int = 3
    repeatable: bool = True
    hedge_after: float = 0.0
    split: Split | None = None
    mirror: Mirror | None = None
    max_concurrency: int = 0
    max_wait: float = 1.0
    rate: Rate | None = None
    slow_start: float = 0.0
    max_request_bytes: int = 0
    max_stream_bytes: int = 0
    learn: bool = True


ORDINARY = Traffic()


@dataclass(frozen=True, slots=True)
class TrafficTable:
    """Each named model's treatment, and that of all others."""

    models: Mapping[str, Traffic] = field(default_factory=lambda: MappingProxyType({}))
    others: Traffic = ORDINARY

    def of(self, model: str) -> Traffic:
        """How calls of this model are treated."""
        return self.models.get(model, self.others)

    @property
    def limits_rates(self) -> bool:
        """True when some model has a rate limit."""
        return any(traffic.rate for traffic in (*self.models.values(), self.others))

    @property
    def limits_rates_globally(self) -> bool:
        """True when some model has a rate limit that all proxies count together."""
        return any(each.rate and each.rate.scope is Scope.GLOBAL for each in (*self.models.values(), self.others))

    @property
    def limits_sizes(self) -> bool:
        """True when some model has a limit of its requests' size."""
        return any(each.max_request_bytes or each.max_stream_bytes for each in (*self.models.values(), self.others))
