"""Triton's Prometheus page, as counters for each model version.

Names and meanings: Triton's docs/user_guide/metrics.md. ``nv_inference_pending_request_count`` is the queue gauge:
requests that have arrived and have not begun to execute.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from inferno_runtime.addresses import parse_address
from inferno_runtime.errors import Unavailable

# A model's name and version.
Key = tuple[str, str]

_LINE = re.compile(r"nv_inference_(\w+)\{([^}]*)\} ([0-9.eE+-]+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MAX_PAGE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Counters:
    """What a model version has done since its server started, and how many requests wait now. Times in microseconds."""

    success: int = 0
    failure: int = 0
    inferences: int = 0
    executions: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    compute_micros: int = 0
    pending: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """The fields in order; ``pending`` is the last."""
        return (
            self.success,
            self.failure,
            self.inferences,
            self.executions,
            self.request_micros,
            self.queue_micros,
            self.compute_micros,
            self.pending,
        )

    def since(self, earlier: Counters) -> Counters:
        """What was done after ``earlier``; ``pending`` is the one of now.

        A counter that fell belongs to a server that started again: all of it is new.

        >>> Counters(success=7, pending=2).since(Counters(success=5, pending=9))
        Counters(success=2, failure=0, inferences=0, executions=0, request_micros=0, queue_micros=0, ...pending=2)
        >>> Counters(success=3).since(Counters(success=5)).success
        3
        """
        if self.fell(earlier):
            return self
        return Counters(
            self.success - earlier.success,
            self.failure - earlier.failure,
            self.inferences - earlier.inferences,
            self.executions - earlier.executions,
            self.request_micros - earlier.request_micros,
            self.queue_micros - earlier.queue_micros,
            self.compute_micros - earlier.compute_micros,
            self.pending,
        )

    def fell(self, earlier: Counters) -> bool:
        """True when some counter is less than it was: another server counts. ``pending`` may fall.

        Written out, as :meth:`since`: telemetry asks it of every model version in every reading.
        """
        return (
            self.success < earlier.success
            or self.failure < earlier.failure
            or self.inferences < earlier.inferences
            or self.executions < earlier.executions
            or self.request_micros < earlier.request_micros
            or self.queue_micros < earlier.queue_micros
            or self.compute_micros < earlier.compute_micros
        )


_ADDERS: Mapping[str, Callable[[Counters, int], Counters]] = {
    "request_success": lambda c, n: replace(c, success=c.success + n),
    # One line for each reason: OTHER, BACKEND, CANCELED, REJECTED.
    "request_failure": lambda c, n: replace(c, failure=c.failure + n),
    "count": lambda c, n: replace(c, inferences=c.inferences + n),
    "exec_count": lambda c, n: replace(c, executions=c.executions + n),
    "request_duration_us": lambda c, n: replace(c, request_micros=c.request_micros + n),
    "queue_duration_us": lambda c, n: replace(c, queue_micros=c.queue_micros + n),
    "compute_input_duration_us": lambda c, n: replace(c, compute_micros=c.compute_micros + n),
    "compute_infer_duration_us": lambda c, n: replace(c, compute_micros=c.compute_micros + n),
    "compute_output_duration_us": lambda c, n: replace(c, compute_micros=c.compute_micros + n),
    "pending_request_count": lambda c, n: replace(c, pending=c.pending + n),
}


def parse(page: str) -> dict[Key, Counters]:
    """Read the page; on a server with several GPUs a version's lines are added up.

    >>> parse('nv_inference_pending_request_count{model="m",version="1"} 3')[("m", "1")].pending
    3
    """
    found: dict[Key, Counters] = {}
    for line in page.splitlines():
        match = _LINE.match(line)
        adder = _ADDERS.get(match[1]) if match else None
        if match is None or adder is None:
            continue
        labels = dict(_LABEL.findall(match[2]))
        key = (labels.get("model", ""), labels.get("version", ""))
        found[key] = adder(found.get(key, Counters()), int(float(match[3])))
    return found


async def fetch(address: str, timeout: float, path: str = "/metrics") -> str:
    """GET a page from ``host:port`` within ``timeout`` seconds.

    Raises:
        Unavailable: No answer in time, or none with status 200.
    """
    host, port = parse_address(address)
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port, limit=_MAX_PAGE)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{address}{path} does not answer: {error}.", reason="NO_PAGE") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        raise Unavailable(f"{address}{path} answered {head[:60]!r}.", reason="NO_PAGE")
    return body.decode(errors="replace")
