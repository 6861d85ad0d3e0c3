"""The replay against queues whose answers are known in closed form."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.simulation.curves import Demand, GridCurve, MeasuredCurve, Station
from inferno_governator.simulation.fleet import Pool
from inferno_governator.simulation.outcome import Objective
from inferno_governator.simulation.queueing import RequestLoads
from inferno_governator.simulation.replay import Deployment, replay
from inferno_governator.simulation.trace import Floats, RateTrace, RequestTrace

COUNT = 200_000
GRID = {
    "128,64": [60.0, 256, 60.0, 40.0],
    "1024,64": [20.0, 128, 120.0, 50.0],
    "128,512": [9.0, 256, 60.0, 35.0],
    "1024,512": [4.0, 128, 120.0, 45.0],
}


@dataclass
class Drawn:
    """A node whose requests bring their steps as their output."""

    speeds: tuple[float, ...]
    base: float = 0.0

    def demand(self, inputs: Floats, outputs: Floats) -> Demand:
        return Demand(outputs, np.full(len(outputs), 1 / len(self.speeds)), np.zeros(len(outputs)), outputs)


def sojourns(speeds: tuple[float, ...], rate: float, works: Floats) -> Floats:
    arrivals = np.cumsum(np.random.default_rng(3).exponential(1 / rate, len(works)))
    trace = RequestTrace("t", arrivals, np.ones(len(works)), works, float(arrivals[-1]))
    loads = RequestLoads(trace, [Drawn(speeds)], math.inf)
    loads.add("n", 0, 1.0, 0.0)
    loads.advance(math.inf)
    return loads.served().latency[len(works) // 10 :]


def exponential() -> Floats:
    return np.random.default_rng(4).exponential(1.0, COUNT)


def test_one_server_with_exponential_work_is_an_m_m_1_queue() -> None:
    seen = sojourns((1.0,), 0.7, exponential())
    assert seen.mean() == pytest.approx(1 / (1 - 0.7), rel=0.05)
    # The sojourn is exponential, so its quantiles are known as well.
    assert np.quantile(seen, 0.95) == pytest.approx(math.log(20) / 0.3, rel=0.07)


@pytest.mark.parametrize("servers", [2, 8])
def test_several_places_of_constant_speed_are_an_m_m_c_queue(servers: int) -> None:
    load = 0.8 * servers
    tail = load**servers / math.factorial(servers) / (1 - 0.8)
    erlang_c = tail / (sum(load**k / math.factorial(k) for k in range(servers)) + tail)
    seen = sojourns((1.0,) * servers, load, exponential())
    assert seen.mean() == pytest.approx(1 + erlang_c / (servers - load), rel=0.04)


def test_one_server_with_constant_work_is_an_m_d_1_queue() -> None:
    seen = sojourns((1.0,), 0.8, np.ones(COUNT))
    assert seen.mean() == pytest.approx(1 + 0.8 / (2 * (1 - 0.8)), rel=0.05)


@pytest.mark.parametrize("works", [np.ones(COUNT), exponential()], ids=["constant", "exponential"])
def test_a_batch_that_shares_one_processor_is_insensitive_to_the_works_distribution(works: Floats) -> None:
    seen = sojourns(tuple(1 / n for n in range(1, 400)), 0.7, works)
    assert seen.mean() == pytest.approx(1 / (1 - 0.7), rel=0.06)


def test_littles_law_holds_in_a_batch_of_tokens() -> None:
    curve = GridCurve.of(GRID)
    trace = RateTrace("t", np.full(6, 10.0), 600.0, 512.0, 100.0).requests(5)
    loads = RequestLoads(trace, [curve], math.inf)
    loads.add("n", 0, 1.0, 0.0)
    seen = []
    for at in range(0, 3600, 5):
        loads.advance(at)
        seen.append(loads.running("n"))
    loads.advance(math.inf)
    latency = loads.served().latency
    assert np.mean(seen) == pytest.approx(len(latency) / 3600 * latency.mean(), rel=0.05)


def test_a_cell_of_a_grid_is_given_back_exactly() -> None:
    curve = GridCurve.of(GRID)
    station = Station.of(curve, curve.demand(np.array([1024.0]), np.array([64.0])))
    assert station.places == pytest.approx(128)
    assert station.most == pytest.approx(128 / (0.120 + 64 * 0.050))
    assert GridCurve.of(GRID, gpus=8).demand(np.array([1024.0]), np.array([64.0])).room[0] == pytest.approx(1 / 1024)


def test_a_size_that_a_grid_cannot_serve_in_a_batch_is_served_alone() -> None:
    curve = GridCurve.of({**GRID, "1024,512": None})
    assert curve.demand(np.array([1024.0]), np.array([512.0])).room[0] == pytest.approx(1.0)


@given(st.dictionaries(st.integers(1, 64), st.floats(0.1, 1000), min_size=1, max_size=6))
def test_a_measured_curve_gives_back_what_was_measured(steps: dict[int, float]) -> None:
    curve = MeasuredCurve.of(steps)
    for count, throughput in steps.items():
        assert curve.speeds[count - 1] * count == pytest.approx(throughput)


@pytest.mark.parametrize(
    ("rates", "nodes"),
    [
        ([3, 6, 10, 14, 17, 12, 8, 20, 15, 5], 2),
        ([3, 6, 10, 12, 13, 12, 8, 13, 9, 5], 1),
        # Beyond what they can do, and down again.
        ([10, 25, 40, 25, 10, 5], 1),
        ([40, 70, 90, 60, 30, 10], 4),
    ],
)
def test_the_fluid_model_is_close_to_the_requests_it_stands_for(rates: list[float], nodes: int) -> None:
    trace = RateTrace("t", np.array(rates, dtype=float), 600.0, 512.0, 100.0)
    pool = Pool("p", GridCurve.of(GRID), 4_000_000, begin=nodes)
    deployment = Deployment("d", (pool,), Objective(latency=4.6), patience=120.0)
    fluid, exact = replay(trace, deployment), replay(trace.requests(1), deployment)
    assert fluid.cost_micros == exact.cost_micros
    assert fluid.requests == pytest.approx(exact.requests, rel=0.02)
    assert fluid.within == pytest.approx(exact.within, abs=0.03)
    assert fluid.idle == pytest.approx(exact.idle, abs=0.03)
    assert fluid.refused / fluid.requests == pytest.approx(exact.refused / exact.requests, abs=0.03)
    assert fluid.latency[0] == pytest.approx(exact.latency[0], rel=0.1)
    assert fluid.latency[1] == pytest.approx(exact.latency[1], rel=0.15)
