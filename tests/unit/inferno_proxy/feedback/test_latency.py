from __future__ import annotations

import random

import pytest

from inferno_proxy.feedback.latency import Distribution, FadingMean, Histogram, Level


def test_a_mean_forgets_with_its_half_life() -> None:
    mean = FadingMean(10.0)
    for _ in range(8):
        mean.add(1.0, at=100.0)
    for _ in range(4):
        mean.add(4.0, at=110.0)
    level = mean.level(110.0)
    assert level == pytest.approx(Level(8.0, 2.5, 2.25))
    assert mean.level(120.0).count == pytest.approx(4.0)
    mean.clear()
    assert mean.level(120.0) == Level()


def test_quantiles_are_a_tenth_too_high_at_most() -> None:
    chance = random.Random(1)
    samples = [chance.lognormvariate(-4, 1) for _ in range(20_000)]
    histogram = Histogram(30.0)
    for each in samples:
        histogram.add(each, at=50.0)
    seen = Distribution.of([histogram], 50.0)
    for part in (0.5, 0.9, 0.99, 1.0):
        true = sorted(samples)[int(part * len(samples)) - 1]
        assert true <= seen.quantile(part) * 1.0001 <= 1.1 * true


def test_distributions_of_several_endpoints_add_up_and_fade() -> None:
    old, new = Histogram(30.0), Histogram(30.0)
    for _ in range(100):
        old.add(1.0, at=0.0)
        new.add(0.01, at=30.0)
    both = Distribution.of([old, new], 30.0)
    assert both.count == pytest.approx(150.0)
    assert both.quantile(0.5) < 0.02
    assert both.quantile(0.9) > 0.9


def test_hours_of_samples_stay_finite() -> None:
    histogram = Histogram(1.0)
    for second in range(2000):
        histogram.add(0.01, at=float(second))
    assert Distribution.of([histogram], 1999.0).count == pytest.approx(2.0)


def test_without_samples_nothing_is_known() -> None:
    nothing = Distribution.of([Histogram(30.0)], 10.0)
    assert (nothing.count, nothing.quantile(0.99)) == (0, 0.0)
