"""A model's capacity curve: what each step of it showed, when it ends, and what it says. Pure.

A step holds a number of requests in flight (a closed loop) for a while that is cut into windows of equal length; how
much the windows differ says how far its throughput can be trusted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A step whose throughput is less than this above the best before it has not risen.
RISE = 0.05
# 97.5 % quantiles of Student's t by degrees of freedom from 1 on. Source: NIST/SEMATECH e-Handbook, 1.3.6.7.2.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_T_NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class Step:
    """One point of the curve.

    Attributes:
        batch: Inferences in each request.
        concurrency: Requests held in flight.
        seconds: How long was measured, warm-up not included.
        requests: Requests that were answered in that time.
        failures: Requests that failed in that time.
        requests_per_second: Throughput of the answered ones.
        uncertainty: Half of the 95 % confidence interval of the throughput, as a share of it; infinite when unknown.
        mean_ms: Mean latency in milliseconds.
        p50_ms: Median latency in milliseconds.
        p95_ms: 95th percentile in milliseconds.
        p99_ms: 99th percentile in milliseconds; with fewer than 100 requests the longest.
        generator_cores: CPU cores that the load generator itself used; near 1 it is what limits the throughput.
    """

    batch: int
    concurrency: int
    seconds: float
    requests: int
    failures: int
    requests_per_second: float
    uncertainty: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    generator_cores: float

    @property
    def inferences_per_second(self) -> float:
        """Throughput in inferences."""
        return self.requests_per_second * self.batch

    def within(self, objective_ms: float | None) -> bool:
        """True when nothing failed and the 99th percentile is within the objective."""
        return self.failures == 0 and (objective_ms is None or self.p99_ms <= objective_ms)

    @property
    def generator_micros(self) -> float:
        """CPU time of the load generator for one request, in microseconds."""
        done = self.requests + self.failures
        return self.generator_cores * self.seconds * 1e6 / done if done else 0.0


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.99), percentile([7], 0.5)
    (2, 4, 7)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def uncertainty(rates: Sequence[float]) -> float:
    """Half of the 95 % confidence interval of the mean of ``rates``, as a share of the mean; infinite when unknown.

    >>> uncertainty([100.0, 100.0, 100.0]), uncertainty([100.0])
    (0.0, inf)
    """
    if len(rates) < 2 or not (mean := statistics.fmean(rates)):
        return math.inf
    quantile = _T[len(rates) - 2] if len(rates) - 2 < len(_T) else _T_NORMAL
    return quantile * statistics.stdev(rates) / math.sqrt(len(rates)) / mean


def summary(
    batch: int,
    concurrency: int,
    latencies: Iterable[float],
    rates: Sequence[float],
    seconds: float,
    cpu_seconds: float,
    failures: int = 0,
) -> Step:
    """The step that was seen.

    Args:
        batch: Inferences in each request.
        concurrency: Requests held in flight.
        latencies: Seconds each answered request took; at least one.
        rates: Requests a second in each window.
        seconds: How long was measured.
        cpu_seconds: CPU time the load generator used in it.
        failures: Requests that failed in it.
    """
    ordered = sorted(latencies)
    return Step(
        batch,
        concurrency,
        seconds,
        len(ordered),
        failures,
        len(ordered) / seconds,
        uncertainty(rates),
        statistics.fmean(ordered) * 1000,
        percentile(ordered, 0.5) * 1000,
        percentile(ordered, 0.95) * 1000,
        percentile(ordered, 0.99) * 1000,
        cpu_seconds / seconds,
    )


def over(steps: Sequence[Step], objective_ms: float | None) -> bool:
    """True when the curve of one batch size (``steps`` by rising concurrency) has nothing more to show: throughput no
    longer rises, and either latency breaks the objective or it has not risen twice in a row."""
    flat = 0
    best = 0.0
    for step in steps:
        flat = 0 if step.requests_per_second > best * (1 + RISE) else flat + 1
        best = max(best, step.requests_per_second)
    return flat >= 2 or (flat == 1 and objective_ms is not None and not steps[-1].within(objective_ms))


def best(steps: Iterable[Step], objective_ms: float | None) -> Step | None:
    """The step with the most inferences a second within the objective; None when none is within it."""
    return max(
        (step for step in steps if step.within(objective_ms)), key=lambda one: one.inferences_per_second, default=None
    )


def batches(max_batch_size: int) -> tuple[int, ...]:
    """Client batches to measure: one, then powers of four, then the largest the model takes.

    >>> batches(0), batches(8), batches(64)
    ((1,), (1, 4, 8), (1, 4, 16, 64))
    """
    sizes = [1]
    while sizes[-1] * 4 < max_batch_size:
        sizes.append(sizes[-1] * 4)
    return (*sizes, max_batch_size) if max_batch_size > 1 else (1,)


def concurrencies(most: int) -> tuple[int, ...]:
    """Powers of two up to ``most``.

    >>> concurrencies(8), concurrencies(6)
    ((1, 2, 4, 8), (1, 2, 4))
    """
    return tuple(1 << power for power in range(most.bit_length()))
