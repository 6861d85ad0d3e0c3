"""Where a search ends, for machines whose answer is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from inferno_backend.benchmark.curve import Step
from inferno_backend.tuning.search import Trial, search
from inferno_backend.tuning.space import Limits, Point

LIMITS = Limits(4, 16, 50)
START = Point(1, 16)


def trial(rate: float, p99: float = 10.0) -> Trial:
    return Trial((Step(1, 4, 1.0, 100, 0, rate, 0.01, 1.0, 1.0, 1.0, p99, 0.1),))


class Machine:
    """Answers at once, and counts how often and how long it is asked."""

    def __init__(self, rate: Callable[[Point], float | Trial]) -> None:
        self._rate = rate
        self.asked: Counter[tuple[Point, int]] = Counter()

    async def measure(self, point: Point, rung: int) -> Trial:
        self.asked[point, rung] += 1
        found = self._rate(point)
        return found if isinstance(found, Trial) else trial(found)


def rate(point: Point) -> float:
    """Batches pay, two instances are best, and so is a delay of a millisecond."""
    if not point.dynamic:
        return 100.0 * min(point.instances, 2)
    delays = {0: 1.0, 200: 1.2, 1000: 1.5, 5000: 1.3, 25000: 0.5}
    sizes = 1.1 if point.preferred == (16,) else 1.0
    return 500.0 * {1: 1.0, 2: 1.6, 4: 1.2}[point.instances] * delays[point.delay_micros] * sizes


async def test_the_search_ends_at_the_best_point_with_fewer_trials_than_all_points() -> None:
    machine = Machine(rate)
    assert await search(START, LIMITS, machine.measure) == Point(
        2, 16, dynamic=True, delay_micros=1000, preferred=(16,)
    )
    # 3 instances * (1 + 5 delays * 4 choices of sizes) are there.
    assert len({point for point, _ in machine.asked}) < 25


async def test_what_is_worse_at_first_is_not_measured_for_longer() -> None:
    machine = Machine(rate)
    await search(START, LIMITS, machine.measure)
    longest = {point: max(rung for one, rung in machine.asked if one == point) for point, _ in machine.asked}
    slow = next(point for point in longest if point.delay_micros == 25000)
    assert longest[slow] == 0
    assert max(longest.values()) == 2


async def test_a_gain_that_is_not_worth_a_change_changes_nothing() -> None:
    assert await search(START, LIMITS, Machine(lambda p: 100.0 if p == START else 101.0).measure) == START
    assert await search(START, LIMITS, Machine(lambda p: 100.0 if p == START else 110.0).measure) != START


async def test_points_that_fail_or_break_the_objective_lose_to_all_that_keep_it() -> None:
    def answer(point: Point) -> Trial:
        if point.dynamic:
            return Trial(error="out of memory")
        return trial(1000, 60) if point.instances > 1 else trial(10)

    assert await search(START, LIMITS, Machine(answer).measure) == START


async def test_where_nothing_keeps_the_objective_the_search_goes_to_the_quickest() -> None:
    machine = Machine(lambda point: trial(100, 200 - 20 * point.instances - 10 * point.dynamic))
    found = await search(START, LIMITS, machine.measure)
    assert (found.instances, found.dynamic) == (4, True)
