"""Is a device slower than it should be? Held against its own past, its like in the same machine, and what its vendor
publishes. Pure.

Only the first two say that it is sick: how near a program comes to a published peak depends on the program.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inferno_backend.benchmark.curve import Step
from inferno_backend.benchmark.results import Figure, HardwareResult, ModelResult
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


@dataclass(frozen=True, slots=True)
class Slower:
    """A model that does less than it did: nothing it consists of has changed, so what it runs on has.

    ``before`` is the median of its own last complete results, in inferences a second.
    """

    result: ModelResult
    best: Step
    before: float

    def sentence(self) -> str:
        """For people."""
        rate = self.best.inferences_per_second
        return (
            f"{self.result.subject.model} does {rate:.4g} inferences/s, {1 - rate / self.before:.0%} under its own "
            f"history on this hardware ({self.before:.4g})."
        )


def slower(result: ModelResult, past: Iterable[ModelResult]) -> tuple[Slower, ...]:
    """Whether a model does less than it did; none or one.

    Only complete results of the same files, configuration, hardware and objective count, and those whose best step had
    the same batch. What is uncertain counts for the device, as in :func:`findings`.
    """
    now = result.best
    if now is None:
        return ()
    values = [
        best.inferences_per_second
        for each in sorted(past, key=lambda one: one.measured_micros)
        if each.complete
        and each.measured_micros != result.measured_micros
        and (each.subject.key, each.objective_ms) == (result.subject.key, result.objective_ms)
        and (best := each.best) is not None
        and best.batch == now.batch
    ][-_PAST:]
    doubt = 1 + min(now.uncertainty, 1.0)
    return (Slower(result, now, statistics.median(values)),) if _low(now.inferences_per_second * doubt, values) else ()


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
