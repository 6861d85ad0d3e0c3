"""Streams stand still when they pause for longer than was learned, and never for less."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferno_backend import work
from inferno_backend.liveness import Patience
from inferno_backend.meter import Reading
from inferno_backend.triton.metrics_page import Counters
from inferno_backend.triton.streams import Stream, Streams

KEY = ("m", "1")
PATIENCE = Patience(least=1.5, executions=5, unknown=30)


def follow(*readings: tuple[float, Streams | None], pending: int = 0, decoupled: str = "m") -> work.Work:
    """What is known after these readings of one instance's streams; None: they are out of sight."""
    known = work.begin(PATIENCE)
    for at, streams in readings:
        seen = {} if streams is None else {KEY: (streams,)}
        known = work.take(known, Reading(at, at, {KEY: Counters(success=5, pending=pending)}, seen), {decoupled})
    return known


def taught(gap: float = 0.1, *, wait: float = 0.2, open_: tuple[Stream, ...] = (), moved_at: float = 0.0) -> Streams:
    """An instance whose streams have taught enough."""
    return Streams(open_, finished=1, responses=50, moved_at=moved_at, first_wait=wait, gap=gap)


def test_a_stream_that_pauses_longer_than_it_ever_did_stands_still_and_goes_on_with_its_next_response() -> None:
    hung = taught(gap=0.5, open_=(Stream(10, 12.0),), moved_at=12.0)
    assert not follow((14.4, hung)).stalled(14.4), "five times the longest pause is not over"
    reason = "1 streams run and none has sent anything for 2.6 s."
    assert follow((14.6, hung)).stalled(14.6) == {"m": reason}
    goes_on = taught(gap=2.7, open_=(Stream(10, 14.7),), moved_at=14.7)
    assert not follow((14.6, hung), (20, goes_on)).stalled(20), "and the pause was learned"


def test_short_pauses_are_given_the_least_patience() -> None:
    hung = taught(gap=0.01, open_=(Stream(10, 12.0),), moved_at=12.0)
    assert not follow((13.4, hung)).stalled(13.4)
    assert follow((13.6, hung)).stalled(13.6)


def test_nothing_is_known_of_pauses_before_ten_of_them_and_the_end_of_a_stream() -> None:
    one = Streams((Stream(0, 1.0),), finished=1, responses=3, moved_at=1, gap=0.01)
    unfinished = Streams((Stream(0, 1.0),), responses=500, moved_at=1, gap=0.01)
    for novice in (one, unfinished):
        assert not follow((30.9, novice)).stalled(30.9)
        assert follow((31.1, novice)).stalled(31.1)


def test_a_first_response_that_takes_long_is_a_compile_or_a_long_question() -> None:
    waits = Streams((Stream(10),))
    assert not follow((30, waits)).stalled(30), "20 s, and nothing was learned"
    assert follow((41, waits)).stalled(41) == {"m": "1 streams run and none has sent a first response for 31.0 s."}
    slow = taught(wait=20, open_=(Stream(10),))
    assert not follow((109, slow)).stalled(109)
    assert follow((111, slow)).stalled(111)


def test_an_idle_hour_is_no_pause() -> None:
    before = taught(moved_at=5)
    assert not follow((5, before), (3605, before)).stalled(3605)
    first_after = taught(open_=(Stream(3604),), moved_at=5)
    assert not follow((5, before), (3606, first_after)).stalled(3606)


def test_one_stream_may_wait_while_another_is_served() -> None:
    both = taught(open_=(Stream(0, 1.0), Stream(50, 99.9)), moved_at=99.9)
    assert not follow((100, both)).stalled(100)


def test_an_instance_that_stands_still_is_seen_beside_one_that_moves() -> None:
    moves, hung = taught(moved_at=99.9), Streams((Stream(0, 1.0),), responses=9, moved_at=1.0)
    known = work.take(work.begin(PATIENCE), Reading(100, 100, {}, {KEY: (moves, hung)}), {"m"})
    assert known.stalled(100) == {"m": "1 streams run and none has sent anything for 99.0 s."}


def test_what_was_learned_outlives_the_process_that_taught_it() -> None:
    fresh = Streams((Stream(10, 12.0),), responses=1, moved_at=12)
    assert follow((9, taught()), (14, fresh)).stalled(14)
    assert not follow((14, fresh)).stalled(14)


def test_waiting_requests_of_a_model_whose_streams_are_out_of_sight_prove_nothing() -> None:
    assert not follow((0, None), (1000, None), pending=3).stalled(1000)


def test_waiting_requests_of_a_model_that_sends_nothing_and_runs_no_stream_are_a_stall() -> None:
    nothing = taught()
    assert not follow((0, nothing), (29, nothing), pending=3).stalled(29)
    assert follow((0, nothing), (31, nothing), pending=3).stalled(31)
    more = Streams(finished=2, responses=60)
    assert not follow((0, nothing), (20, more), (40, more), pending=3).stalled(40)


def test_requests_that_wait_behind_a_stream_are_no_stall_of_their_own() -> None:
    runs = [(float(at), taught(open_=(Stream(0, float(at)),), moved_at=float(at))) for at in range(100)]
    assert not follow(*runs, pending=3).stalled(99)


@given(st.lists(st.floats(0.001, 5), min_size=10, max_size=40), st.floats(0.001, 25), st.data(), st.floats(0, 0.5))
def test_a_stream_is_told_to_stand_still_only_beyond_the_bound_and_always_by_the_next_reading(
    pauses: list[float], wait: float, data: st.DataObject, every: float
) -> None:
    gap, now = max(pauses), 1000.0
    bound = max(PATIENCE.least, PATIENCE.executions * gap)
    pause = data.draw(st.floats(0, 2 * bound))
    open_ = (Stream(now - 100, now - pause),)
    streams = Streams(open_, 0, 1, len(pauses) + 2, now - pause, wait, gap)
    assert bool(follow((now, streams)).stalled(now)) == (now - streams.moved_at > bound)
    # Readings come twice a second: whatever has just escaped one is found by the next but a few.
    assert follow((now + bound + every + 0.01, streams)).stalled(now + bound + every + 0.01)
