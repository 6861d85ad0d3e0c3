"""Which model is left out when Triton ends while it loads models."""

from __future__ import annotations

from inferno_backend.lives import End
from inferno_backend.triton.suspicion import Suspicion, acquitted, after_end, after_service

ALL = frozenset({"a", "b", "c"})


def end(*loading: str, late: bool = False) -> End:
    return End("It was killed.", frozenset(loading), late)


def test_one_end_is_held_against_nobody_and_a_second_one_against_the_model_that_was_being_loaded_at_both() -> None:
    first = after_end(Suspicion(), end("a", "b"), ALL)
    assert not first.held
    second = after_end(first, end("b", "c"), ALL)
    assert second.held == {"b": "It was killed. It is left out until somebody loads it."}
    assert second.suspects == {"c"}
    assert second.trial == ()


def test_a_life_that_served_in_between_clears_everybody() -> None:
    served = after_service(after_end(Suspicion(), end("a"), ALL))
    assert not after_end(served, end("a"), ALL).held


def test_an_end_while_nothing_was_being_loaded_clears_everybody() -> None:
    between = after_end(after_end(Suspicion(), end("a"), ALL), end(), ALL)
    assert not after_end(between, end("a"), ALL).held


def test_one_whose_trial_began_while_another_ones_victim_was_dying_gets_a_second_one_behind_the_others() -> None:
    both = after_end(after_end(Suspicion(), end("a", "b"), ALL), end("a", "b"), ALL)
    unlucky = after_end(both, end("a"), frozenset({"c"}))
    assert unlucky.trial == ("b", "a")
    assert acquitted(acquitted(unlucky, "b"), "a") == Suspicion()


def test_of_several_suspects_each_is_loaded_alone_and_the_one_that_does_it_again_is_found() -> None:
    both = after_end(after_end(Suspicion(), end("a", "b"), ALL), end("a", "b"), ALL)
    assert both.trial == ("a", "b")
    assert both.held["a"] == "It was killed. It is loaded once the others serve."
    without_a = acquitted(both, "a")
    assert (without_a.trial, tuple(without_a.held)) == (("b",), ("b",))
    once_more = after_end(without_a, end("b"), frozenset({"a", "c"}))
    assert once_more.trial == ("b",)
    found = after_end(once_more, end("b"), frozenset({"a", "c"}))
    assert found.trial == ()
    assert not found.struck
    assert found.held == {"b": "It was killed. It is left out until somebody loads it."}


def test_a_model_that_never_gets_loaded_is_to_blame_the_first_time() -> None:
    assert tuple(after_end(Suspicion(), end("a", late=True), ALL).held) == ("a",)


def test_a_model_that_was_loaded_on_request_is_to_blame_the_first_time() -> None:
    assert tuple(after_end(Suspicion(), end("new"), ALL).held) == ("new",)


def test_a_model_that_was_mended_and_loaded_is_given_to_the_next_life() -> None:
    held = after_end(Suspicion(), end("a", late=True), ALL)
    assert acquitted(held, "a") == Suspicion()
