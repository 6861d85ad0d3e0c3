"""Alive means work moves: never an alarm while idle or loading, always one when work stands still."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_backend.liveness import Patience, Probe, Progress, Pulse, advance, feel
from inferno_backend.triton.metrics_page import Counters

KEY = ("m", "1")


def missed(at: float, seconds: float = 0.3) -> Probe:
    return Probe(at, answered=False, seconds=seconds, allowed=0.3)


def answered(at: float) -> Probe:
    return Probe(at, answered=True, seconds=0.001, allowed=0.3)


def test_one_missed_answer_is_no_verdict_and_two_are() -> None:
    once = feel(Pulse(), missed(10.3))
    assert not once.failed
    assert feel(once, missed(10.6)).failed


def test_silence_counts_from_the_first_unanswered_question() -> None:
    pulse = feel(feel(Pulse(), missed(10.3)), missed(10.6))
    assert pulse.silent_for(20.0) == pytest.approx(10.0)
    assert Pulse().silent_for(20.0) == 0


def test_an_answer_ends_the_verdict() -> None:
    pulse = feel(feel(feel(Pulse(), missed(10.3)), missed(10.6)), answered(11))
    assert not pulse.failed
    assert pulse.silent_for(12) == 0


def test_a_probe_our_own_machine_held_up_says_nothing_of_the_server() -> None:
    assert feel(Pulse(), missed(10, seconds=0.8)) == Pulse()


def follow(*readings: tuple[float, Counters], patience: Patience | None = None) -> Progress:
    progress = Progress(patience or Patience())
    for at, counters in readings:
        progress = advance(progress, {KEY: counters}, at)
    return progress


def test_an_idle_model_never_stalls() -> None:
    progress = follow((0, Counters(success=5)), (1000, Counters(success=5)))
    assert not progress.stalled(1000)


def test_work_that_waits_and_does_not_move_is_a_stall() -> None:
    progress = follow(
        (0, Counters(success=5)), (1, Counters(success=5, pending=3)), (2.6, Counters(success=5, pending=9))
    )
    assert progress.stalled(2.6) == {"m": "9 requests wait and none has ended for 2.6 s."}


def test_a_stall_ends_when_work_moves_again() -> None:
    progress = follow(
        (0, Counters(success=5)), (9, Counters(success=5, pending=3)), (9.5, Counters(success=6, pending=2))
    )
    assert not progress.stalled(9.5)


def test_a_model_that_never_ended_a_request_is_given_more_time() -> None:
    first = (0, Counters()), (1, Counters(pending=1)), (20, Counters(pending=1))
    assert not follow(*first).stalled(20)
    assert follow(*first, (31, Counters(pending=1))).stalled(31)


def test_a_slow_model_is_given_five_times_its_slowest_execution() -> None:
    slow = (0, Counters(success=1)), (2, Counters(success=2, compute_micros=2_000_000))
    assert not follow(*slow, (11, Counters(success=2, compute_micros=2_000_000, pending=1))).stalled(11)
    assert follow(*slow, (12.5, Counters(success=2, compute_micros=2_000_000, pending=1))).stalled(12.5)


def test_a_withdrawn_model_whose_callers_gave_up_is_tried_again_later() -> None:
    stalled = (0, Counters(success=5)), (5, Counters(success=5, pending=3))
    assert follow(*stalled, (6, Counters(success=5))).stalled(6)
    assert not follow(*stalled, (15, Counters(success=5))).stalled(15)


def test_a_server_that_started_again_moves() -> None:
    progress = follow(
        (0, Counters(success=50)), (5, Counters(success=2, pending=1)), (5.5, Counters(success=2, pending=1))
    )
    assert not progress.stalled(5.5)


def test_a_model_that_is_gone_is_forgotten() -> None:
    progress = follow((0, Counters(success=5)), (5, Counters(success=5, pending=1)))
    assert not advance(progress, {}, 6).stalled(6)


@given(st.lists(st.tuples(st.floats(0.01, 1.4), st.integers(0, 50), st.integers(1, 9)), max_size=30))
def test_no_alarm_as_long_as_every_reading_shows_progress(steps: list[tuple[float, int, int]]) -> None:
    progress, now, success = Progress(Patience()), 0.0, 1
    for pause, pending, done in steps:
        now, success = now + pause, success + done
        progress = advance(progress, {KEY: Counters(success=success, pending=pending)}, now)
        assert not progress.stalled(now)
