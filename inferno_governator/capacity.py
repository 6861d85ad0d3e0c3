"""What models can do on nodes, as values: reports that were decoded and found possible."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CapacityStep:
    """What a number of requests held in flight showed.

    Times are in microseconds. ``uncertainty`` is half of the 95 % confidence interval of the throughput, as a share of
    it (negative: unknown); ``generator_cores`` the CPU that the load generator itself used.
    """

    batch: int
    concurrency: int
    requests: int
    failures: int
    requests_per_second: float
    uncertainty: float
    p50_micros: int
    p95_micros: int
    p99_micros: int
    generator_cores: float


@dataclass(frozen=True, slots=True)
class CapacitySubject:
    """What a report is about: a model, by its files and configuration, on a node's hardware."""

    node: str
    hardware: str
    model: str
    files: str
    configuration: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """One report; ``objective_micros`` 0 is none."""

    subject: CapacitySubject
    measured_micros: int
    hardware_name: str
    settings: str
    objective_micros: int
    triton_version: str
    complete: bool
    steps: tuple[CapacityStep, ...]


@dataclass(frozen=True, slots=True)
class DeviceFigure:
    """One thing that a device of a node can do; ``spread`` is half of the distance between the quartiles of its tries,
    as a share of ``value``."""

    node: str
    device: str
    figure: str
    library: str
    measured_micros: int
    hardware: str
    name: str
    value: float
    unit: str
    spread: float
