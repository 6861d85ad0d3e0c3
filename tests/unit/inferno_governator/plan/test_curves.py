"""Rates between the sizes that were measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.capacity import Capacity, CapacityStep, CapacitySubject
from inferno_governator.plan.curves import Grid, Objective, Point, Size, Step, Steps, Unfit, grid, measured
from inferno_runtime.errors import InvalidInput

TOKENS = (128.0, 1024.0, 8192.0)
ANY = Objective()
INSIDE = st.floats(128, 8192)


def linear(prefill: float, decode: float) -> Grid:
    """A machine whose time for a request is a sum over its tokens."""
    return Grid(
        {Size(a, b): Point(1 / (prefill * a + decode * b), prefill * a, decode) for a in TOKENS for b in TOKENS}
    )


@given(INSIDE, INSIDE, st.floats(1e-6, 1e-2), st.floats(1e-6, 1e-2))
def test_a_rate_between_sizes_is_never_above_the_true_one_of_a_machine_whose_time_adds_up(
    a: float, b: float, prefill: float, decode: float
) -> None:
    point = linear(prefill, decode).at(Size(a, b))
    assert isinstance(point, Point)
    assert point.rate <= 1 / (prefill * a + decode * b) * (1 + 1e-9)


@given(INSIDE, INSIDE)
def test_a_rate_lies_between_those_of_its_neighbours(a: float, b: float) -> None:
    shape = linear(1e-4, 1e-3)
    point, small, large = shape.at(Size(a, b)), shape.at(Size(128, 128)), shape.at(Size(8192, 8192))
    assert isinstance(point, Point)
    assert isinstance(small, Point)
    assert isinstance(large, Point)
    assert large.rate * (1 - 1e-9) <= point.rate <= small.rate * (1 + 1e-9)


def test_a_measured_size_has_the_measured_rate_also_beside_one_that_cannot_be_served() -> None:
    shape = grid({"128,32": [100, 8, 10, 5], "128,64": None, "256,32": [50, 8, 20, 5], "256,64": None})
    assert shape.at(Size(256, 32)) == pytest.approx(Point(50, 0.02, 0.005))
    assert shape.at(Size(256, 33)) is Unfit.CAPACITY


def test_a_smaller_request_than_any_measured_counts_as_the_smallest_and_a_larger_one_is_refused() -> None:
    shape = linear(1e-4, 1e-3)
    assert shape.at(Size(1, 1)) == shape.at(Size(128, 128))
    assert shape.at(Size(8193, 128)) is shape.at(Size(128, 8193)) is Unfit.SIZE


@pytest.mark.parametrize(
    ("objective", "network", "said"),
    [
        (Objective(first=0.2), 0.0, None),
        (Objective(first=0.2), 0.15, Unfit.DISTANCE),
        (Objective(first=0.05), 0.0, Unfit.LATENCY),
        (Objective(token=0.0005), 0.0, Unfit.LATENCY),
    ],
)
def test_a_curve_says_whether_the_machine_or_the_distance_breaks_the_objective(
    objective: Objective, network: float, said: Unfit | None
) -> None:
    rate = linear(1e-4, 1e-3).rate(Size(1024, 1024), objective, network)
    assert rate is said if said else isinstance(rate, float)


def test_a_measured_curve_gives_the_fastest_step_within_the_objective() -> None:
    steps = Steps((Step(10, 0.01), Step(30, 0.05), Step(35, 0.5)))
    assert steps.rate(Size(0, 0), ANY, 0) == 35
    assert steps.rate(Size(0, 0), Objective(first=0.1), 0.04) == 30
    assert steps.rate(Size(0, 0), Objective(first=0.1), 0.095) is Unfit.DISTANCE
    assert steps.rate(Size(0, 0), Objective(first=0.001), 0) is Unfit.LATENCY


def test_a_step_in_which_requests_failed_counts_for_nothing() -> None:
    made = [CapacityStep(1, 1 << n, 100, n, 10.0 * (n + 1), 0, 1, 1, 2_000_000, 0) for n in range(2)]
    report = Capacity(CapacitySubject("n", "h", "m", "", "c"), 1, "", "", 0, "", complete=True, steps=tuple(made))
    assert measured(report) == Steps((Step(10.0, 2.0),))


@pytest.mark.parametrize("cells", [{}, {"1": [1, 1, 1, 1]}, {"1,2": 3}, {"1,2": [0, 1, 1, 1]}, {"-1,2": [1, 1, 1, 1]}])
def test_what_is_no_grid_is_refused(cells: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        grid(cells)
