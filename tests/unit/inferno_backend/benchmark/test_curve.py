"""What a capacity curve says, and when it has said it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferno_backend.benchmark.curve import Step, best, over, summary, uncertainty


def step(rate: float, p99: float = 1.0, *, batch: int = 1, failures: int = 0) -> Step:
    return Step(batch, 1, 1.0, int(rate), failures, rate, 0.01, 1.0, 1.0, 1.0, p99, 0.1)


def test_a_step_is_summed_up_from_its_latencies_windows_and_cpu_time() -> None:
    found = summary(2, 4, [0.001 * number for number in range(100, 0, -1)], [50.0, 50.0], 2.0, 0.5, failures=25)
    assert (found.requests, found.requests_per_second, found.inferences_per_second) == (100, 50.0, 100.0)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx((50, 95, 99))
    assert (found.uncertainty, found.generator_cores, found.generator_micros) == (0.0, 0.25, 4000.0)
    assert replace(found, requests=0, failures=0).generator_micros == 0.0


def test_uncertainty_shrinks_with_the_number_of_windows_and_is_infinite_without_work() -> None:
    few, many = uncertainty([90.0, 110.0]), uncertainty([90.0, 110.0] * 20)
    assert 0 < many < few
    assert uncertainty([90.0, 110.0, 100.0]) == pytest.approx(4.303 * 10 / math.sqrt(3) / 100)
    assert uncertainty([0.0, 0.0]) == math.inf


@pytest.mark.parametrize(
    ("rates", "p99", "objective", "expected"),
    [
        ([100.0], 1.0, 10.0, False),
        ([100.0, 200.0], 50.0, 10.0, False),  # it still rises
        ([100.0, 102.0], 5.0, 10.0, False),  # it does not, within the objective
        ([100.0, 102.0], 50.0, 10.0, True),
        ([100.0, 102.0, 101.0], 5.0, 10.0, True),
        ([100.0, 102.0], 50.0, None, False),
        ([100.0, 102.0, 101.0], 50.0, None, True),
        ([100.0, 90.0, 130.0], 5.0, None, False),
    ],
)
def test_a_curve_is_over_when_throughput_stays_and_latency_or_a_second_look_says_so(
    rates: list[float], p99: float, objective: float | None, expected: bool
) -> None:
    assert over([step(rate, p99) for rate in rates], objective) is expected


def test_the_best_step_has_the_most_inferences_within_the_objective_and_no_failure() -> None:
    wanted = step(50, 9, batch=8)
    steps = [step(100, 5), wanted, step(80, 11, batch=8), step(90, 5, batch=8, failures=1)]
    assert best(steps, 10) == wanted
    assert best(steps, 4) is None
    assert best(steps, None) == steps[2]
