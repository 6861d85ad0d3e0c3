"""What is said of a Triton's ends, and when it is not started again."""

from __future__ import annotations

import pytest

from inferno_backend.lives import End, Ends
from inferno_runtime.errors import TimedOut, Unavailable


def after(*moments: float) -> Ends:
    ends = Ends()
    for each in moments:
        ends = ends.after(each, steady=False)
    return ends


def test_two_ends_are_no_crash_loop_and_three_are_one_with_how_often_in_which_time_and_when_next() -> None:
    assert after(1, 2).told("It ended.", 2, 100) == "It ended. It is started again."
    assert after(1, 2, 9).told("It ended.", 9, 86400 + 3661) == (
        "It ended. Crash loop: it has ended 3 times in 8 s. It is started again at 01:01:01 UTC."
    )


def test_a_steady_life_makes_earlier_ends_forgotten() -> None:
    assert after(1, 2, 9).after(60, steady=True) == Ends()


def test_a_first_start_is_tried_twice() -> None:
    end = End("Triton ended with status 1.")
    assert after(1).refusal(end, 600) is None
    refused = after(1, 2).refusal(end, 600)
    assert isinstance(refused, Unavailable)
    assert refused.message == "Triton does not start. Triton ended with status 1."


def test_one_that_never_got_ready_is_refused_with_what_it_was_loading() -> None:
    refused = after(1).refusal(End("x", frozenset({"b", "a"}), late=True), 2.5)
    assert isinstance(refused, TimedOut)
    assert refused.message == ("Triton did not get ready within 2.5 s (--start-timeout): it was still loading a, b.")
    assert "--start-timeout" in refused.fix


def test_one_that_waits_for_an_object_store_is_refused_with_its_address() -> None:
    refused = after(1).refusal(End("x", late=True, store="s3://b/m"), 1)
    assert refused is not None
    assert refused.message.endswith("it has read no model from s3://b/m.")
    assert "credentials" in refused.fix


def test_an_attached_one_that_never_answered_is_refused_with_its_address() -> None:
    refused = after(1).refusal(End("No Triton answers at h:1.", late=True, own=False), 3)
    assert isinstance(refused, Unavailable)
    assert refused.message == "No Triton answers at h:1 within 3 s (--start-timeout)."
    assert "--triton-url" in refused.fix


@pytest.mark.parametrize("loading", [frozenset[str](), frozenset({"m"})])
def test_one_that_is_late_says_what_it_knows(loading: frozenset[str]) -> None:
    refused = after(1).refusal(End("x", loading, late=True), 1)
    assert refused is not None
    assert ("loading m" in refused.message) == bool(loading)
