from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from inferno_runtime.backoff import Backoff


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(1.0, 4.0, multiplier=2.0, jitter=0.0)
    assert [backoff.next() for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]


def test_a_reset_begins_again() -> None:
    backoff = Backoff(1.0, 4.0, multiplier=2.0, jitter=0.0)
    backoff.next()
    backoff.reset()
    assert backoff.next() == 1.0


@given(seed=st.integers(), rounds=st.integers(1, 30))
def test_every_delay_stays_within_the_jitter_of_its_base(seed: int, rounds: int) -> None:
    backoff = Backoff(0.1, 2.0, multiplier=1.6, jitter=0.2, rng=random.Random(seed))
    base = 0.1
    for _ in range(rounds):
        assert base * 0.8 <= backoff.next() <= base * 1.2 + 1e-12
        base = min(2.0, base * 1.6)
