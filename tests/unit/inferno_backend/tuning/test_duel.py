"""When the configuration that was found is really better."""

from __future__ import annotations

import pytest

from inferno_backend.benchmark.curve import Step
from inferno_backend.tuning.duel import LEAST_ROUNDS, Round, least_median, verdict


def step(rate: float, p99: float = 10.0, failures: int = 0) -> Step:
    return Step(1, 4, 1.0, 100, failures, rate, 0.01, 1.0, 1.0, 1.0, p99, 0.1)


def rounds(*ratios: float, p99: float = 10.0, before: float = 10.0, failures: int = 0) -> list[Round]:
    return [Round(step(100, before), step(100 * ratio, p99, failures)) for ratio in ratios]


@pytest.mark.parametrize(
    ("ratios", "better"),
    [
        ([1.3] * 7, True),
        ([1.02, 1.01, 1.03, 1.02, 1.04, 1.02, 1.01], True),
        ([1.3, 1.3, 1.3, 0.99, 1.3, 1.3, 1.3], False),
        ([1.3, 1.3, 1.3, 0.99, 1.3, 1.3, 1.3, 1.3, 1.3], True),  # one of nine may be against it
        ([2.0] * 5, False),  # too few to know
        ([0.9] * 7, False),
    ],
)
def test_more_throughput_counts_when_chance_would_not_give_it(ratios: list[float], better: bool) -> None:
    assert verdict(rounds(*ratios), 20).better is better


def test_what_breaks_the_objective_or_fails_is_not_used_however_much_it_does() -> None:
    slow = verdict(rounds(*[3.0] * 7, p99=21), 20)
    assert not slow.better
    assert "its p99 is 21 ms, beyond 20 ms" in slow.reason
    assert verdict(rounds(*[3.0] * 7, failures=1), 20).reason == "requests failed with it"


def test_keeping_an_objective_that_the_old_one_breaks_is_better_whatever_the_throughput() -> None:
    found = verdict(rounds(*[0.8] * 7, p99=15, before=30), 20)
    assert found.better
    assert "the old one does not (30 ms)" in found.reason


def test_the_interval_of_the_median_needs_six_rounds_and_leaves_out_more_as_they_become_many() -> None:
    ratios = [1.0 + number / 100 for number in range(40)]
    assert least_median(ratios[: LEAST_ROUNDS - 1]) == 0.0
    assert least_median(ratios[:8]) == ratios[0]
    assert least_median(ratios[:9]) == ratios[1]
    assert least_median(ratios) == ratios[13]
