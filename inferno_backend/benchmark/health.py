"""Is a device slower than it should be? Held against its own past, its like in the same machine, and what its vendor
publishes. Pure.

Only the first two say that it is sick: how near a program comes to a published peak depends on the program.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inferno_backend.benchmark.results import Figure, HardwareResult
from inferno_backend.benchmark.vendor import peak

# As far below as this, and further, a device is sick.
SICK = 0.15
# Results of the past that count: newer drivers and libraries move what is normal.
_PAST = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """A figure of a device that is too low; ``normal`` is what it is held against, ``against`` says what that is."""

    figure: Figure
    normal: float
    against: str

    @property
    def share(self) -> float:
        """How far below, as a share of what is normal."""
        return 1 - self.figure.value / self.normal

    def sentence(self) -> str:
        """For people."""
        one = self.figure
        return (
            f"{one.device} ({one.name}) does {one.value:.4g} {one.unit} in {one.figure}, {self.share:.0%} under "
            f"{self.against} ({self.normal:.4g} {one.unit})."
        )


def findings(result: HardwareResult, past: Iterable[HardwareResult]) -> tuple[Finding, ...]:
    """What is too low in a result.

    ``past`` are earlier results of any machine: only figures of the same device, by the same library, count. A figure
    whose tries lay far apart, as on CPUs that do other work too, gets the benefit of its doubt: its upper quartile is
    what must be too low.
    """
    earlier = sorted(past, key=lambda one: one.measured_micros)
    found: list[Finding] = []
    for each in result.figures:
        own = [one.value for before in earlier for one in before.figures if _same(one, each)][-_PAST:]
        peers = [one.value for one in result.figures if _peer(one, each)]
        for values, against in ((own, "its own history"), (peers, "its peers in this machine")):
            if _low(each.value * (1 + each.spread), values):
                found.append(Finding(each, statistics.median(values), against))
    return tuple(found)


def _same(one: Figure, other: Figure) -> bool:
    return (one.device, one.name, one.figure, one.library) == (other.device, other.name, other.figure, other.library)


def _peer(one: Figure, other: Figure) -> bool:
    return one.device != other.device and (one.name, one.figure) == (other.name, other.figure)


def _low(value: float, values: Sequence[float]) -> bool:
    return bool(values) and value <= (1 - SICK) * statistics.median(values)


def of_peak(figure: Figure) -> float | None:
    """The share of the published peak that a figure reaches; None when none is known."""
    known = peak(figure.name)
    published = known.figures.get(figure.figure) if known else None
    return figure.value / published if published else None
