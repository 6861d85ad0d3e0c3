"""The replay that scaling is judged by pays for what it starts, and its clairvoyant pays the least that anybody can."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scaling import Sized
from benchmarks.scaling_replay import STRETCH, World, clairvoyant, replay


def by_trying(world: World) -> float:
    """The least cost of serving all, by trying every number of nodes in every stretch."""
    needs = [math.ceil(rate / world.capacity) for rate in world.rates]
    best = math.inf
    for counts in itertools.product(range(max(needs) + 1), repeat=len(needs)):
        if any(count < need for count, need in zip(counts, needs, strict=True)):
            continue
        before = [max(1, needs[0]), *counts]
        starts = sum(max(0, now - then) for then, now in itertools.pairwise(before))
        best = min(best, starts * world.boot + sum(counts) * STRETCH)
    return best


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 40))
def test_the_clairvoyant_pays_the_least_of_all_ways(needs: list[int], boot: int) -> None:
    world = World([need * 10.0 for need in needs], 10.0, boot)
    assert clairvoyant(world, 0) == pytest.approx(by_trying(world))
    assert clairvoyant(world, 0, 0.01) <= by_trying(world) + 1e-6


def test_a_node_is_paid_for_while_it_boots_and_serves_after_it() -> None:
    world = World([10.0, 20.0, 20.0], 10.0, 5)
    came = replay(world, Sized(1.0))
    # The second node is called a minute after the rate has doubled, and serves five minutes later.
    assert (came.starts, came.stops) == (1, 0)
    assert came.cost == 30 + 19
    assert came.served == pytest.approx(1 - 6 * 10 / (10 * 50))


def test_nobody_who_serves_as_much_pays_less_than_the_bound() -> None:
    world = World([15.0, 38.0, 22.0, 71.0, 64.0, 12.0, 55.0, 31.0] * 12, 10.0, 15)
    for target in (0.5, 0.7, 0.9):
        came = replay(world, Sized(target, 900.0))
        assert came.cost >= clairvoyant(world, 0, 1 - came.served + 1e-9)
