"""A proxy's count of requests from the wire to a point, with everything impossible refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from inferno.governance.v1 import usage_pb2
from inferno_governator.requests import BUCKETS, RequestKey, RequestPoint

# No counter of one window comes near it, and 32,000 of them still add up within 64 bits.
_MAX_COUNT = 2**48
_NO_TIMES = (0,) * BUCKETS
_COUNTERS = (
    "requests",
    "client_errors",
    "refused",
    "server_errors",
    "request_micros",
    "input_tokens",
    "output_tokens",
    "request_bytes",
    "response_bytes",
)

# Takes a field's name and what is wrong with it.
Refuse = Callable[[str, str], NoReturn]


def decode_requests(
    wire: usage_pb2.RequestSample,
    when: tuple[int, int],
    points: dict[RequestKey, list[RequestPoint]],
    check_name: Callable[[str, str], None],
    refuse: Refuse,
) -> None:
    """Add a sample's point to those of its key.

    Args:
        wire: The sample as it arrived.
        when: End and length of its window, in microseconds.
        points: Takes the point.
        check_name: Refuses a field that is no name.
        refuse: Raises; called with a field and what is wrong with it.

    Raises:
        Whatever ``check_name`` and ``refuse`` do: a value is impossible.
    """
    key = RequestKey(wire.node, wire.model, wire.version, wire.team, wire.key)
    if key not in points:
        for field, text in zip(key._fields, key, strict=True):
            check_name(field, text)
    counters = tuple(getattr(wire, name) for name in _COUNTERS)
    latency = tuple(wire.latency)
    if max(counters) > _MAX_COUNT:
        refuse(_COUNTERS[counters.index(max(counters))], f"{max(counters)} is more than 2^48")
    if latency and len(latency) != BUCKETS:
        refuse("latency", f"{len(latency)} numbers are not {BUCKETS}")
    if latency and sum(latency) != wire.requests:
        refuse("latency", f"its sum, {sum(latency)}, is not the number of requests, {wire.requests}")
    points.setdefault(key, []).append((*when, *counters, *(latency or _NO_TIMES)))
