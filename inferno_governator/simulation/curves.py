"""What a node does with a batch: how fast it steps with so many requests in it, and what each request asks of it.

Both kinds of curve are read by the same rule. A node works in steps. Every request in its batch takes part in each
step and is done after ``steps`` of them; it fills the ``room`` share of a batch, and makes each step ``load`` seconds
longer.
A step takes ``base`` seconds and the loads of all in it; or, where a node was measured by how many requests it held,
what ``speeds`` says for their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from inferno_governator.simulation.trace import Floats, Integers
from inferno_runtime.errors import InvalidInput

# A batch is full when less than this share of it is left.
FULL = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """What requests ask of one kind of node; each of shape (requests,).

    Attributes:
        steps: Steps until a request is done.
        room: Share of the node's batch that it fills.
        load: Seconds by which it makes a step longer.
        first: Steps until its first token.
    """

    steps: Floats
    room: Floats
    load: Floats
    first: Floats


class Curve(Protocol):
    """What one node can do.

    Attributes:
        base: Seconds of a step with nothing in it.
        speeds: Steps a second by the number of requests, from one on; empty where ``base`` and loads say it.
    """

    @property
    def base(self) -> float: ...

    @property
    def speeds(self) -> tuple[float, ...]: ...

    def demand(self, inputs: Floats, outputs: Floats) -> Demand:
        """What requests of these sizes, in tokens, ask of the node."""
        ...


@dataclass(frozen=True, slots=True)
class MeasuredCurve:
    """A node as a benchmark measured it: throughput by the number of requests held in flight.

    All requests are alike to it: the benchmark's. ``speeds[n - 1]`` is one over the latency with ``n`` in flight.
    """

    speeds: tuple[float, ...]
    base: float = 0.0

    @classmethod
    def of(cls, steps: Mapping[int, float]) -> MeasuredCurve:
        """From requests a second by concurrency; between two of them it is interpolated.

        Raises:
            InvalidInput: There is no step, or one without throughput.

        >>> MeasuredCurve.of({1: 10.0, 3: 15.0}).speeds
        (10.0, 6.25, 5.0)
        """
        if not steps or min(steps) < 1 or min(steps.values()) <= 0:
            raise InvalidInput(
                "A capacity curve needs requests a second above 0 for each number of requests in flight.",
                reason="BAD_CURVE",
                fix="Measure the node with inferno backend bench, or write {1: 20.0, 8: 90.0}.",
            )
        known = sorted(steps)
        counts = np.arange(1, known[-1] + 1)
        throughput = np.interp(counts, [0, *known], [0.0, *(steps[count] for count in known)])
        return cls(tuple(float(each) for each in throughput / counts))

    def demand(self, inputs: Floats, outputs: Floats) -> Demand:
        """Each is one step, and fills one of the places."""
        ones = np.ones(len(inputs))
        return Demand(ones, ones / len(self.speeds), np.zeros(len(inputs)), ones)


@dataclass(frozen=True)
class GridCurve:
    """A node as a grid of sizes has it: the largest batch within the grid's objective, and the latencies there.

    At a cell's own size and batch it gives the cell's latency and throughput exactly. With fewer in the batch a step is
    shorter, linearly, down to ``base``; requests of several sizes share the batch and the step by their shares of
    either (Mélange adds loads in the same way).

    Attributes:
        cells: ``(input tokens, output tokens)`` to ``(batch, seconds to the first token, seconds of a step)``.
        gpus: GPUs of the node, each with a batch of its own.
    """

    cells: Mapping[tuple[int, int], tuple[float, float, float]]
    gpus: int = 1

    @classmethod
    def of(cls, grid: Mapping[str, Sequence[float] | None], gpus: int = 1) -> GridCurve:
        """From a grid as it is published: ``"input,output"`` to ``[requests/s, batch, TTFT ms, TPOT ms]``, or None.

        Raises:
            InvalidInput: It is no such grid, or has no cell.
        """
        cells: dict[tuple[int, int], tuple[float, float, float]] = {}
        for size, cell in grid.items():
            try:
                tokens_in, tokens_out = (int(each) for each in size.split(","))
                if cell is not None:
                    _, batch, first, step = cell
                    cells[tokens_in, tokens_out] = (float(batch), first / 1000, step / 1000)
            except (ValueError, TypeError) as error:
                raise InvalidInput(
                    f"The grid's cell {size!r} is {cell!r}.",
                    reason="BAD_GRID",
                    fix='Write "input,output": [requests/s, batch, TTFT ms, TPOT ms], or null.',
                ) from error
        if not cells or min(min(cell) for cell in cells.values()) <= 0:
            raise InvalidInput(
                "The grid has no cell, or one that is not above 0.", reason="BAD_GRID", fix="Give a grid with cells."
            )
        return cls(cells, gpus)

    @property
    def speeds(self) -> tuple[float, ...]:
        """None: a step's length follows from what is in it."""
        return ()

    @cached_property
    def base(self) -> float:
        """The intercept of the line through step lengths by batch and context, and at most 0.9 of the shortest step."""
        batches, _, steps = np.array(list(self.cells.values())).T
        context = np.array([tokens_in + tokens_out / 2 for tokens_in, tokens_out in self.cells])
        terms = np.stack([np.ones(len(steps)), batches, batches * context]).T / steps[:, None]
        intercept = float(np.linalg.lstsq(terms, np.ones(len(steps)), rcond=None)[0][0])
        return min(max(intercept, 0.0), 0.9 * float(steps.min()))

    def demand(self, inputs: Floats, outputs: Floats) -> Demand:
        """Interpolated over the logarithms of both sizes; beyond the largest it goes on as between the last two, below
        the smallest it is the smallest's. What the grid has no cell for takes the next smaller size's, one at a time.
        """
        batch, first, step = (np.exp(each) for each in self._interpolated(inputs, outputs))
        batch = np.maximum(batch, 1.0)
        step = np.maximum(step, self.base / 0.9)
        prefill = first / step
        return Demand(
            steps=prefill + np.maximum(outputs, 1.0),
            room=1 / batch / self.gpus,
            load=(step - self.base) / batch / self.gpus,
            first=prefill + 1.0,
        )

    def _interpolated(self, inputs: Floats, outputs: Floats) -> Floats:
        """Logarithms of batch, first token and step; shape (3, requests)."""
        ins = sorted({size for size, _ in self.cells})
        outs = sorted({size for _, size in self.cells})
        table = np.empty((3, len(ins), len(outs)))
        for row, tokens_in in enumerate(ins):
            for column, tokens_out in enumerate(outs):
                cell = self.cells.get((tokens_in, tokens_out))
                if cell is None:
                    near = max(
                        (size for size in self.cells if size[0] <= tokens_in and size[1] <= tokens_out),
                        default=min(self.cells),
                    )
                    cell = (1.0, self.cells[near][1] * max(1.0, tokens_in / near[0]), self.cells[near][2])
                table[:, row, column] = np.log(cell)
        low, share = _between(ins, inputs)
        left, part = _between(outs, outputs)
        below = table[:, low, left] * (1 - part) + table[:, low, left + min(1, len(outs) - 1)] * part
        up = low + min(1, len(ins) - 1)
        above = table[:, up, left] * (1 - part) + table[:, up, left + min(1, len(outs) - 1)] * part
        return np.asarray(below * (1 - share) + above * share)


def _between(known: Sequence[int], sizes: Floats) -> tuple[Integers, Floats]:
    """The place of the known size below each, and how far it is to the next, in logarithms."""
    logs = np.log(np.asarray(known, dtype=float))
    wanted = np.log(np.maximum(sizes, known[0]))
    if len(known) == 1:
        return np.zeros(len(sizes), dtype=int), np.zeros(len(sizes))
    low = np.clip(np.searchsorted(logs, wanted, side="right") - 1, 0, len(known) - 2)
    return low, (wanted - logs[low]) / (logs[low + 1] - logs[low])


@dataclass(frozen=True, slots=True)
class Station:
    """A node with requests of one size: what capacities and the fluid model are reckoned from."""

    steps: float
    first: float
    load: float
    base: float
    speeds: tuple[float, ...]
    places: float

    @classmethod
    def of(cls, curve: Curve, demand: Demand) -> Station:
        """With requests of the mean of what is asked."""
        means = [float(np.mean(each)) for each in (demand.steps, demand.room, demand.load, demand.first)]
        return cls(means[0], means[3], means[2], curve.base, curve.speeds, 1 / means[1])

    def step(self, running: Floats) -> Floats:
        """Seconds of a step with so many in the batch, at most as many as fit; any shape."""
        fit = np.clip(running, 0.0, self.places)
        if not self.speeds:
            return np.asarray(self.base + self.load * np.maximum(fit, min(1.0, self.places)))
        places = np.arange(1, len(self.speeds) + 1)
        return np.asarray(np.interp(fit, places, 1 / np.asarray(self.speeds)))

    def throughput(self, running: Floats) -> Floats:
        """Requests a second with so many in the node, queued ones included; any shape."""
        return np.asarray(np.clip(running, 0.0, self.places) / (self.steps * self.step(running)))

    @property
    def most(self) -> float:
        """Requests a second with a full batch."""
        return float(self.throughput(np.array([self.places]))[0])

    def capacity(self, latency: float, first_token: float) -> float:
        """The most requests a second within both latencies, in seconds; 0 is no objective. 0 where one alone misses."""
        running = np.linspace(min(1.0, self.places), self.places, 512)
        step = self.step(running)
        within = np.ones(len(running), dtype=bool)
        if latency:
            within &= self.steps * step <= latency
        if first_token:
            within &= self.first * step <= first_token
        return float(self.throughput(running)[within].max()) if within.any() else 0.0
