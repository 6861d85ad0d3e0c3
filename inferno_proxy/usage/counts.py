"""Envoy's page of usage counters as values; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from operator import add
from typing import NamedTuple
from urllib.parse import quote

from inferno_proxy.resources.usage_stats import ASKED, BOUNDS, EVERY, MICROS, PREFIX, READ, RECEIVED, SENT, WRITTEN

# What to ask Envoy's admin interface for.
PATH = f"/stats/prometheus?usedonly&filter={quote(rf'^{PREFIX}[.]', safe='')}"
BUCKETS = len(BOUNDS) + 1
# Model, team and key of what Envoy had no room to count apart.
OTHER = "(other)"
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_LINE = f"envoy_{PREFIX}_"
_NAMES = {EVERY, ASKED, MICROS, RECEIVED, SENT, READ, WRITTEN}
# As Envoy writes them (SNAKE_STRING).
_CLIENT_ERRORS = frozenset(
    {
        "CANCELLED",
        "CANCELED",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "UNAUTHENTICATED",
    }
)


class Counter(NamedTuple):
    """One counter of Envoy: its name, and its labels as Envoy writes them (model, client, node, grpc, http, bucket)."""

    name: str
    route: str = ""
    client: str = ""
    node: str = ""
    grpc: str = ""
    http: str = ""
    bucket: str = ""


class Who(NamedTuple):
    """Who asked which model, and which node answered; empty: none, or nobody says."""

    node: str
    model: str
    client: str


class Ended(StrEnum):
    """How a call ended: the field of RequestSample that counts it."""

    WELL = "requests"
    CLIENT = "client_errors"
    REFUSED = "refused"
    SERVER = "server_errors"


class Counts(NamedTuple):
    """What was asked; the fields are those of RequestSample, ``latency`` has :data:`BUCKETS` numbers or none. Bytes and
    tokens are of all calls, however they ended."""

    requests: int = 0
    client_errors: int = 0
    refused: int = 0
    server_errors: int = 0
    request_micros: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    latency: tuple[int, ...] = ()

    def plus(self, other: Counts) -> Counts:
        """Both together. Where the times of one are unknown, so are those of both."""
        known = all(each.latency or not each.requests for each in (self, other))
        latency = _added(self.latency, other.latency) if known else ()
        return Counts._make((*map(add, self[:-1], other[:-1]), latency))


# Of a client, model and node, however their calls ended.
_SIZES: Mapping[str, Callable[[int], Counts]] = {
    RECEIVED: lambda count: Counts(request_bytes=count),
    SENT: lambda count: Counts(response_bytes=count),
    READ: lambda count: Counts(input_tokens=count),
    WRITTEN: lambda count: Counts(output_tokens=count),
}


def _added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True)) if one and other else one or other


def read(page: str) -> dict[Counter, int]:
    """The counters on a page; other lines are left out."""
    found: dict[Counter, int] = {}
    for line in page.splitlines():
        if not line.startswith(_LINE):
            continue
        name, _, rest = line.removeprefix(_LINE).partition("{")
        said, _, value = rest.rpartition("} ")
        labels = {label: _ESCAPED.sub(r"\1", text) for label, text in _LABEL.findall(said)}
        if name in _NAMES and labels.keys() <= set(Counter._fields):
            found[Counter(name, **labels)] = int(float(value))
    return found


def grown(before: Mapping[Counter, int], now: Mapping[Counter, int]) -> dict[Counter, int]:
    """What was counted since; a counter that has fallen began anew."""
    grown = {
        each: value - before.get(each, 0) if value >= before.get(each, 0) else value for each, value in now.items()
    }
    return {each: value for each, value in grown.items() if value}


def counts(grown: Mapping[Counter, int]) -> dict[Who, Counts]:
    """What was asked, by who asked what; what Envoy had no room to count apart stands under :data:`OTHER`."""
    found: dict[Who, Counts] = {}
    rest: dict[Counter, int] = {}
    for each, value in grown.items():
        how = how_ended(each.grpc, each.http)
        if each.name == EVERY:
            rest[each] = rest.get(each, 0) + value
            continue
        who = Who("" if each.node == "-" else each.node, _model(each.route), "" if each.client == "-" else each.client)
        if each.name in _SIZES:
            found[who] = found.get(who, Counts()).plus(_SIZES[each.name](value))
        elif each.name == ASKED:
            found[who] = found.get(who, Counts()).plus(_counted(how, value, int(each.bucket)))
            total = Counter(EVERY, grpc=each.grpc, http=each.http)
            rest[total] = rest.get(total, 0) - value
        elif how is Ended.WELL:
            found[who] = found.get(who, Counts()).plus(Counts(request_micros=value))
    for each, value in rest.items():
        # Less than none: its counter in all found no room.
        if value > 0:
            other = Who("", OTHER, OTHER)
            found[other] = found.get(other, Counts()).plus(_counted(how_ended(each.grpc, each.http), value))
    return found


def _counted(how: Ended, calls: int, bucket: int | None = None) -> Counts:
    if how is Ended.CLIENT:
        return Counts(client_errors=calls)
    if how is Ended.REFUSED:
        return Counts(refused=calls)
    if how is Ended.SERVER:
        return Counts(server_errors=calls)
    if bucket is None:
        return Counts(requests=calls)
    return Counts(requests=calls, latency=(*[0] * bucket, calls, *[0] * (BUCKETS - bucket - 1)))


def how_ended(grpc: str, http: str) -> Ended:
    """How a call ended, by gRPC's status, or for a call without one by HTTP's.

    >>> how_ended("OK", "200").value, how_ended("", "503").value, how_ended("-", "0").value
    ('requests', 'server_errors', 'client_errors')
    """
    if grpc not in ("", "-"):
        if grpc == "OK":
            return Ended.WELL
        if grpc == "RESOURCE_EXHAUSTED":
            return Ended.REFUSED
        return Ended.CLIENT if grpc in _CLIENT_ERRORS else Ended.SERVER
    # 0: the caller went away before there was an answer.
    status = int(http) if http.isdigit() else 0
    if 200 <= status < 300:
        return Ended.WELL
    if status == 429:
        return Ended.REFUSED
    return Ended.CLIENT if status < 500 else Ended.SERVER


def _model(route: str) -> str:
    kind, _, model = route.partition(" ")
    return model if kind in ("model", "quarantine", "forbidden", "capped") else ""
