"""Intents as guards and policies see them."""

from __future__ import annotations

from inferno_governator.decisions.history import Action, Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Reason, Verb


def test_an_action_says_whose_place_its_node_takes_so_that_no_second_successor_is_started() -> None:
    intent = Intent(
        number=7,
        decision=3,
        verb=Verb.START,
        pool="small",
        node="small-2",
        reason=Reason.SPOT_NOTICE,
        outcome=Outcome.DONE,
        begun_micros=5_000_000,
        ended_micros=9_000_000,
        instead_of="small-1",
    )
    assert intent.action == Action(
        3, Verb.START, Reason.SPOT_NOTICE, "small", "small-2", Outcome.DONE, 5.0, 9.0, "small-1"
    )
