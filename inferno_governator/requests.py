"""What callers asked, as proxies counted it: values, decoded and found possible."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

# Microseconds. A histogram has one number more: requests that took less than each bound (and not less than the one
# before), and those that took longer than all. The same stand in usage.proto and in the proxy.
LATENCY_BOUNDS_MICROS = tuple(
    bound * 1000 for bound in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
)
BUCKETS = len(LATENCY_BOUNDS_MICROS) + 1
# Model, team and key of what a proxy had no room to count apart.
OTHER = "(other)"

# end, window, requests, client_errors, refused, server_errors, request_micros, input_tokens, output_tokens,
# request_bytes, response_bytes, then the histogram
RequestPoint = tuple[int, ...]


class RequestKey(NamedTuple):
    """Who asked what, and which node answered; an empty part is unknown, or there is none."""

    node: str
    model: str
    version: str
    team: str
    key: str


class RequestUse(NamedTuple):
    """What one key asked of one model on one node in a stretch of time.

    ``requests`` succeeded; ``histogram`` (of :data:`BUCKETS` numbers) and ``request_micros`` are theirs. A caller's
    fault, or its going away, is a client error; ``refused`` were told to come later.
    """

    # Unix minutes: from ``start_minute``, ``minutes`` long (1, 60 or 1440).
    start_minute: int
    minutes: int
    node: str
    model: str
    version: str
    team: str
    key: str
    requests: int
    client_errors: int
    refused: int
    server_errors: int
    request_micros: int
    # Zero where unknown.
    input_tokens: int
    output_tokens: int
    request_bytes: int
    response_bytes: int
    histogram: tuple[int, ...]

    @property
    def errors(self) -> int:
        """Requests that did not succeed, whoever's fault it was."""
        return self.client_errors + self.refused + self.server_errors


def slower_than(histogram: tuple[int, ...], micros: int) -> float:
    """How many requests of a histogram took longer than so many microseconds.

    Exact where ``micros`` is one of the bounds; within a bucket, times are taken to be spread evenly. Beyond the last
    bound all count that lie there.

    >>> slower_than((0, 4, *[0] * 14), 1000), slower_than((0, 4, *[0] * 14), 1500)
    (4.0, 2.0)
    """
    slower = 0.0
    lower = 0
    for count, upper in zip(histogram, LATENCY_BOUNDS_MICROS, strict=False):
        inside = min(max(micros - lower, 0) / (upper - lower), 1.0)
        slower += count * (1.0 - inside)
        lower = upper
    return slower + histogram[-1]


def quantile_micros(histogram: tuple[int, ...], share: float) -> int:
    """The bound below which this share of the requests lies; the last bound where it lies beyond; 0 without requests.

    >>> quantile_micros((1, 8, 0, 1, *[0] * 12), 0.9)
    2000
    """
    total = sum(histogram)
    if not total:
        return 0
    reached = accumulate(histogram)
    at = next((at for at, count in enumerate(reached) if count >= share * total), BUCKETS - 1)
    return LATENCY_BOUNDS_MICROS[min(at, BUCKETS - 2)]
