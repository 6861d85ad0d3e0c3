"""What a row of the fault table consists of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from benchmarks.cloud import Cloud
from benchmarks.load import Report


@dataclass(frozen=True, slots=True)
class Measured:
    """What a fault did. Seconds; None: not measured in this scenario. ``gap``: between the first and the last request
    that failed. ``ratio``: the slowest hundredth of calls against that of a healthy fleet. ``lost``: model servers that
    died. ``grown``: MiB of memory that the proxy's process that grew most has more than before. ``figures``: what else
    the row promises, by name."""

    report: Report
    detected: float | None = None
    recovered: float | None = None
    gap: float | None = None
    lost: int | None = None
    ratio: float | None = None
    note: str = ""
    grown: float | None = None
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Route:
    """How the load reaches the mesh: a gRPC target and the environment it needs."""

    name: str
    target: str
    env: Mapping[str, str]


# Without retries, health checks and ejection in the data plane, and without restarts of the proxy's own processes.
NO_HEALING = "proxy:\n  healing: false\n"

# The test model answers within milliseconds: a call that has waited a second hangs. Each try of a request that kills
# nodes is one node.
HEALING = "proxy:\n  models:\n    whoami: {hedge_after: 1}\n    brittle: {retries: 1}\n"

# Nothing is said about the model: what there is to know is learned.
LEARNING = "proxy: {}\n"

# Nodes take turns, whatever they are like.
TURNS = "proxy:\n  healing: false\n  models:\n    whoami: {balance: round_robin}\n"

Scenario = Callable[[Cloud, Route], Awaitable[Measured]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table: its promise in words and in numbers (seconds, MiB), and how to provoke it.

    It happens to a cloud with ``config``; rows that share one share the cloud. The control run does ``control``
    (the same scenario, unless another is named) to a cloud with ``control_config``; ``bites`` tells from it whether
    the fault did harm there. A control that never recovers has bitten as well. A control that ``spoils`` leaves a
    cloud without healing that is no use for another row. A row that is not ``lossless`` promises how soon failing
    ends, not that nothing fails. One that is not ``controlled`` has no control: its note says what was done to the
    cloud. ``env`` makes, in the cloud's folder, what the environment of its programs has besides. ``bounds`` has
    the least and the most that a figure may be. ``tested`` are the paths that the end-to-end tests hold; the
    others, and all rows without one, are only measured.
    """

    row: int
    title: str
    promise: str
    scenario: Scenario
    proxyless: bool = False
    worst: float | None = None
    detect: float | None = None
    recover: float | None = None
    gap: float | None = None
    ratio: float | None = None
    grown: float | None = None
    lost: int | None = None
    lossless: bool = True
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    control: Scenario | None = None
    control_config: str = NO_HEALING
    spoils: bool = False
    controlled: bool = True
    config: str = HEALING
    env: Callable[[Path], Mapping[str, str]] | None = None
    bites: Callable[[Measured], bool] = lambda measured: measured.report.failed > 0
    tested: tuple[str, ...] = ("envoy",)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that is not measured, and why not."""

    row: int
    title: str
    reason: str
