"""Which points are measured, and for how long: one coordinate after the other, along each by successive halving. Pure
but for the measuring.

All points of a coordinate are measured briefly, the better half of them for twice as long, and so on. Source: Jamieson
and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2015.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from inferno_backend.benchmark.curve import Step, best
from inferno_backend.tuning.space import COORDINATES, Limits, Point, candidates

# A change that gains less than this is not worth making.
WORTH = 0.02
# Twice along each coordinate: the second time from where the first one led.
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Trial:
    """What a point showed: the steps of its curve, or why Triton did not run it."""

    steps: tuple[Step, ...] = ()
    error: str = ""

    def best(self, objective_ms: float) -> Step | None:
        """Its capacity within the objective."""
        return best(self.steps, objective_ms)

    def score(self, objective_ms: float) -> tuple[float, float]:
        """To be compared: requests a second within the objective; where there are none, the quicker the better."""
        found = self.best(objective_ms)
        quickest = min((step.p99_ms for step in self.steps), default=float("inf"))
        return (found.requests_per_second, 0.0) if found else (0.0, -quickest)


Measure = Callable[[Point, int], Awaitable[Trial]]


async def search(
    start: Point, limits: Limits, measure: Measure, coordinates: Sequence[str] = tuple(COORDINATES)
) -> Point:
    """The best point found from ``start`` on, along these coordinates.

    ``measure`` is given a point and its rung: 0 for the briefest measurement, each further one takes twice as long.
    """
    at = start
    for _ in range(_ROUNDS):
        before = at
        for coordinate in coordinates:
            at = await _along(candidates(coordinate, at, limits), limits.objective_ms, measure)
        if at == before:
            break
    return at


async def _along(points: Sequence[Point], objective_ms: float, measure: Measure) -> Point:
    """The best of points; the first one stays unless another is better by what is worth a change."""
    first, rung = points[0], 0
    while len(points) > 1:
        scores = {point: (await measure(point, rung)).score(objective_ms) for point in points}
        if first in scores:
            scores[first] = _with_bonus(scores[first])
        ranked = sorted(points, key=lambda one: scores[one], reverse=True)
        points = ranked[: (len(ranked) + 1) // 2]
        rung += 1
    return points[0]


def _with_bonus(score: tuple[float, float]) -> tuple[float, float]:
    return score[0] * (1 + WORTH), score[1] * (1 - WORTH)
