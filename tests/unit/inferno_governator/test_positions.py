from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.store.positions import Position, advance


def test_a_batch_at_or_before_the_position_is_a_duplicate() -> None:
    position = Position(last_sequence=5, dropped_samples=2, missing_batches=1)
    for sequence in (1, 5):
        step = advance(position, sequence, 9)
        assert (step.stored, step.position) == (False, position)


def test_a_gap_is_counted_as_missing() -> None:
    step = advance(Position(last_sequence=5), 9, 0)
    assert (step.stored, step.missing_batches, step.position.last_sequence) == (True, 3, 9)


def test_dropped_samples_count_once_though_the_node_repeats_its_total() -> None:
    first = advance(Position(), 1, 10)
    second = advance(first.position, 2, 10)
    third = advance(second.position, 3, 4)
    assert [step.dropped_samples for step in (first, second, third)] == [10, 0, 0]
    assert third.position.dropped_samples == 10


@given(st.lists(st.integers(1, 30)))
def test_each_sequence_is_stored_at_most_once_and_stored_and_missing_add_up(sequences: list[int]) -> None:
    position, stored = Position(), []
    for sequence in sequences:
        step = advance(position, sequence, 0)
        position = step.position
        stored += [sequence] if step.stored else []
    assert len(stored) == len(set(stored))
    assert position.missing_batches + len(stored) == max(sequences, default=0)
