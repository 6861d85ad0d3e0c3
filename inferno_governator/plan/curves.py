"""What one replica of a model does on GPUs of a family: rates that somebody measured or computed, never guessed.

A grid holds rates at sizes of requests; between them the logarithm of the rate (and of the latencies) is interpolated
linearly in the logarithms of input and output. Where the time of a request is a sum of powers of its sizes, as prefill
and decoding are, the logarithm of the time is convex in these coordinates (a log-sum-exp), so along either axis the
interpolated rate is never above the true one. Below the smallest size the rate of the smallest counts, for a smaller
request takes no longer. Above the largest nothing is known, and nothing is said.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from inferno_governator.capacity import Capacity
from inferno_runtime.errors import InvalidInput


class Size(NamedTuple):
    """Tokens of a request; 0 and 0 where a model's requests have no such size."""

    input: float
    output: float


class Unfit(Enum):
    """Why a machine cannot serve a request."""

    CURVE = "nobody has measured the model there"
    MEMORY = "the GPUs have too little memory"
    GPUS = "the machine has too few GPUs for one replica, or a number of them that does not divide among replicas"
    SIZE = "the request is larger than any that was measured"
    CAPACITY = "the curve says that it cannot be served there"
    LATENCY = "it takes longer than the objective allows"
    DISTANCE = "it is too far from the callers for the objective"
    PLACE = "nobody knows where its region lies"


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised, in seconds; 0 promises nothing. ``first`` is the time to the first token (or to the whole
    answer of a model that has no tokens), ``token`` the time of each further one."""

    first: float = 0.0
    token: float = 0.0


class Point(NamedTuple):
    """What a replica does at one size: requests a second at most, and its latencies there, in seconds."""

    rate: float
    first: float
    token: float


@dataclass(frozen=True)
class Grid:
    """Rates over sizes; a size that is missing or None cannot be served.

    Attributes:
        points: By size; inputs and outputs make a full rectangle.
    """

    points: Mapping[Size, Point | None]

    @cached_property
    def _axes(self) -> tuple[list[float], list[float]]:
        return sorted({size.input for size in self.points}), sorted({size.output for size in self.points})

    def at(self, size: Size) -> Point | Unfit:
        """What a replica does at a size."""
        inputs, outputs = self._axes
        if size.input > inputs[-1] or size.output > outputs[-1]:
            return Unfit.SIZE
        found = [0.0, 0.0, 0.0]
        for input_tokens, along in _corners(inputs, size.input):
            for output_tokens, across in _corners(outputs, size.output):
                point = self.points.get(Size(input_tokens, output_tokens))
                if point is None:
                    return Unfit.CAPACITY
                for index, value in enumerate(point):
                    found[index] += along * across * math.log(value)
        return Point(*(math.exp(value) for value in found))

    def rate(self, size: Size, objective: Objective, network: float) -> float | Unfit:
        """Requests a second of one replica within an objective, ``network`` seconds there and back from its callers."""
        point = self.at(size)
        if isinstance(point, Unfit):
            return point
        if objective.token and point.token > objective.token:
            return Unfit.LATENCY
        if objective.first and point.first + network > objective.first:
            return Unfit.LATENCY if point.first > objective.first else Unfit.DISTANCE
        return point.rate


class Step(NamedTuple):
    """A number of requests in flight: requests a second, and the 99th percentile of their latency in seconds."""

    rate: float
    latency: float


@dataclass(frozen=True)
class Steps:
    """A closed-loop curve of a model whose requests are alike (decision 0123)."""

    steps: tuple[Step, ...]

    def rate(self, size: Size, objective: Objective, network: float) -> float | Unfit:
        """The highest rate whose 99th percentile keeps the objective; sizes make no difference."""
        fast = [each for each in self.steps if not objective.first or each.latency <= objective.first]
        near = [each.rate for each in fast if not objective.first or each.latency + network <= objective.first]
        if near:
            return max(near)
        return Unfit.DISTANCE if fast else Unfit.LATENCY if self.steps else Unfit.CAPACITY


@dataclass(frozen=True)
class Curve:
    """What one replica of a model does on ``gpus`` GPUs of a family (or on one machine of a type without GPUs).

    Attributes:
        model: Model; empty for every model of the question.
        gpu: Family of the GPU, as the price list names it, or a machine type.
        gpus: GPUs of one replica, a power of two.
        memory_gb: Memory of one GPU on which it was measured; machines with less are left out. 0: any.
    """

    model: str
    gpu: str
    shape: Grid | Steps
    gpus: int = 1
    memory_gb: int = 0


def grid(points: Mapping[str, object]) -> Grid:
    """A grid in the form ``{"input,output": [requests a second, batch, first ms, token ms]}``; null cannot be served.

    Raises:
        InvalidInput: It has another form.
    """
    found: dict[Size, Point | None] = {}
    for name, cell in points.items():
        try:
            size = Size(*(float(part) for part in name.split(",")))
            if cell is not None:
                if not isinstance(cell, list | tuple):
                    raise TypeError
                rate, _, first, token = (float(value) for value in cell)
                found[size] = checked(Point(rate, first / 1000, token / 1000))
            else:
                found[size] = None
        except (TypeError, ValueError) as error:
            raise _bad_grid(f"the cell {name[:40]!r} is neither null nor four numbers") from error
        if not all(0 < value < math.inf for value in size):
            raise _bad_grid(f"the size {name[:40]!r} is not two positive numbers")
    if not found:
        raise _bad_grid("it has no cell")
    return Grid(found)


def checked(point: Point) -> Point:
    """The same point.

    Raises:
        ValueError: A value is not positive and finite.
    """
    if not all(0 < value < math.inf for value in point):
        raise ValueError
    return point


def measured(capacity: Capacity) -> Steps:
    """A node's own report as a curve: steps in which nothing failed, of the smallest requests (``batch``) that were
    tried, as most callers send them."""
    smallest = min((step.batch for step in capacity.steps), default=0)
    return Steps(
        tuple(
            Step(step.requests_per_second, step.p99_micros / 1e6)
            for step in capacity.steps
            if step.batch == smallest and not step.failures and step.requests_per_second > 0
        )
    )


def _corners(axis: list[float], value: float) -> list[tuple[float, float]]:
    """The neighbours of a value on an axis with their weights; of a value on the axis, itself alone."""
    if value <= axis[0]:
        return [(axis[0], 1.0)]
    above = bisect.bisect_left(axis, value)
    high = axis[above]
    if high == value:
        return [(high, 1.0)]
    low = axis[above - 1]
    share = math.log(value / low) / math.log(high / low)
    return [(low, 1 - share), (high, share)]


def _bad_grid(why: str) -> InvalidInput:
    return InvalidInput(
        f"The grid of rates is not valid: {why}.",
        reason="BAD_CURVE",
        fix='Write {"input,output": [requests a second, batch, first token in ms, each token in ms]}, null for what '
        "cannot be served.",
    )
