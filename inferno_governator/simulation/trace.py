"""Demand, as values: requests one by one, or only how many came a second. Seconds count from the trace's begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Truths: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RequestTrace:
    """Requests one by one.

    Attributes:
        name: What it is called in reports.
        at: When each arrives, in seconds from the begin, ascending; shape (requests,).
        inputs: Tokens that each brings; shape (requests,).
        outputs: Tokens that each is answered with; shape (requests,).
        seconds: Length of the trace.
        begin: Its begin, in Unix seconds; 0 where the trace does not tell.
    """

    name: str
    at: Floats
    inputs: Floats
    outputs: Floats
    seconds: float
    begin: float = 0.0

    @property
    def mean_input(self) -> float:
        """Tokens a request brings on average."""
        return float(self.inputs.mean()) if len(self.inputs) else 0.0

    @property
    def mean_output(self) -> float:
        """Tokens a request is answered with on average."""
        return float(self.outputs.mean()) if len(self.outputs) else 0.0

    def repeated(self, requests: int) -> RequestTrace:
        """The trace one time after the other until there are so many requests.

        >>> RequestTrace("t", np.array([0.0, 1.0]), np.ones(2), np.ones(2), 2.0).repeated(3).at.tolist()
        [0.0, 1.0, 2.0]
        """
        times = -(-requests // max(1, len(self.at)))
        rounds = np.repeat(np.arange(times) * self.seconds, len(self.at))
        return RequestTrace(
            self.name,
            (np.tile(self.at, times) + rounds)[:requests],
            np.tile(self.inputs, times)[:requests],
            np.tile(self.outputs, times)[:requests],
            self.seconds * times,
            self.begin,
        )


@dataclass(frozen=True, slots=True, eq=False)
class RateTrace:
    """How many requests came a second, in even steps.

    Attributes:
        rates: Requests a second in each step; shape (steps,).
        step: Seconds of a step.
        mean_input: Tokens a request brings on average.
        mean_output: Tokens a request is answered with on average.
    """

    name: str
    rates: Floats
    step: float
    mean_input: float = 0.0
    mean_output: float = 0.0
    begin: float = 0.0

    @property
    def seconds(self) -> float:
        """Length of the trace."""
        return self.step * len(self.rates)

    def rate(self, at: float) -> float:
        """Requests a second at a moment; 0 outside the trace."""
        place = int(at // self.step)
        return float(self.rates[place]) if 0 <= place < len(self.rates) else 0.0

    def requests(self, seed: int) -> RequestTrace:
        """Arrivals of these rates: a Poisson process whose rate is that of each step. All requests have the mean size,
        for a rate trace tells no more. The same seed gives the same arrivals.
        """
        random = np.random.default_rng(seed)
        counts = random.poisson(self.rates * self.step)
        starts = np.repeat(np.arange(len(self.rates)) * self.step, counts)
        at = np.sort(starts + random.random(int(counts.sum())) * self.step)
        return RequestTrace(
            self.name,
            at,
            np.full(len(at), self.mean_input),
            np.full(len(at), self.mean_output),
            self.seconds,
            self.begin,
        )


Trace: TypeAlias = RequestTrace | RateTrace
