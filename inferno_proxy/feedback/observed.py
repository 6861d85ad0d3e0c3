"""What a data plane saw, as plain values: single tries of calls, and counts per endpoint.

Both come from Envoy itself, never from the nodes: tries from its access logs (a fair sample of all, and what failed,
both bounded), counts from its load reports (complete). :mod:`inferno_proxy.feedback` makes advice of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from inferno_proxy.fleet import Address


class Outcome(StrEnum):
    """How one try of a call ended.

    ``FAILED``: the server answered with an error that is its own (UNAVAILABLE, INTERNAL, 5xx). ``REFUSED``: no
    connection, or the server refused the stream: it never ran. ``RESET``: the connection or the stream broke under it.
    ``CANCELLED``: the caller ended it, or the first try of a hedged call did, which answered after all. ``TIMED_OUT``:
    a limit of ours ended it; so did the answer to the next try of a hedged call, which is sent when its time is over.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    RESET = "reset"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Try:
    """One try of one call at one endpoint.

    ``seconds`` is the time from the try's first byte sent to its end. ``attempt`` counts the tries of the call from 1.
    ``request_bytes`` is the size of the request's body as sent. ``stream``: it had more than one answer, so its
    duration says nothing about the node. ``fingerprint`` names the request's content, empty when nothing asked for it.
    ``request_id`` is what the caller calls the call, empty when it did not say; ``status`` what the server answered
    (``gRPC 14``, ``HTTP 503``), empty for nothing; ``flag`` why Envoy ended the try, in Envoy's word.
    ``at``: monotonic seconds of the control plane's clock.
    """

    model: str
    address: Address
    outcome: Outcome
    seconds: float
    at: float
    attempt: int = 1
    request_bytes: int = 0
    stream: bool = False
    fingerprint: str = ""
    request_id: str = ""
    status: str = ""
    flag: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """All tries of one model at one endpoint through one data plane, in the window that ended at ``at`` (monotonic
    seconds) and lasted ``seconds``. ``under_way`` is the number of tries not ended then."""

    client_id: str
    model: str
    address: Address
    issued: int
    succeeded: int
    failed: int
    under_way: int
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of one endpoint of late. ``seconds`` is the mean time of its last ``samples`` answered tries (older
    ones count less), 0 samples when none was seen. ``times_slower``: than the best of the model's endpoints, at equal
    sizes, 0 when not known. ``failed`` is the failed part of its tries. Ages are in seconds, None without any.
    """

    seconds: float = 0.0
    samples: float = 0.0
    times_slower: float = 0.0
    failed: float = 0.0
    in_flight: int = 0
    latency_age: float | None = None
    report_age: float | None = None
