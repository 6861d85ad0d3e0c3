"""What comes next about an intent, whatever is lost between two questions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Reason, Verb
from inferno_governator.enacting.drains import FRESH, GONE, Drained, Drains, Wish
from inferno_governator.enacting.steps import Do, Seen, Terms, next_step
from inferno_governator.providers.provider import Machine, MachineState
from inferno_runtime.clock import ManualClock

START = Intent(1, 1, Verb.START, Reason.BELOW_MINIMUM, "p", "p-1")
STOP = Intent(2, 1, Verb.STOP, Reason.IDLE, "p", "p-0")
RUNS = Machine("p-0", "p", MachineState.RUNNING)
TERMS = Terms()

SEEN = st.builds(
    Seen,
    listed=st.booleans(),
    machine=st.none() | st.builds(Machine, st.just("p-0"), st.just("p"), st.sampled_from(MachineState)),
    serving=st.booleans(),
    empty=st.booleans(),
    invalid=st.sampled_from(["", "no more"]),
    waited=st.floats(0, 5000),
)
UNDER_WAY = st.sampled_from([Outcome.INTENDED, Outcome.DRAINING, Outcome.CALLED])


@given(SEEN, UNDER_WAY, st.integers(0, 5))
def test_a_machine_is_asked_for_only_while_none_is_listed_and_an_earlier_call_had_time(
    seen: Seen, outcome: Outcome, calls: int
) -> None:
    if next_step(replace(START, outcome=outcome, calls=calls), seen, TERMS).do is Do.CALL:
        assert seen.listed
        assert seen.machine is None
        assert not seen.invalid
        assert calls == 0 or (seen.waited >= TERMS.settle and outcome is not Outcome.CALLED)


@given(SEEN, UNDER_WAY, st.integers(0, 5), st.booleans())
def test_nothing_is_stopped_that_is_not_drained_or_may_be_interrupted(
    seen: Seen, outcome: Outcome, calls: int, interruptible: bool
) -> None:
    intent = replace(STOP, outcome=outcome, calls=calls)
    if next_step(intent, seen, replace(TERMS, interruptible=interruptible)).do is Do.CALL:
        assert seen.machine is not None
        # Of what has ended by itself, there is nothing to drain.
        if calls == 0 and seen.machine.state is not MachineState.STOPPED:
            assert outcome is not Outcome.INTENDED
            assert seen.empty or (interruptible and seen.waited >= TERMS.drain)
            assert not seen.invalid


@given(SEEN, UNDER_WAY, st.integers(0, 5), st.sampled_from([START, STOP]))
def test_what_waits_for_approval_or_has_ended_is_left_alone(
    seen: Seen, outcome: Outcome, calls: int, intent: Intent
) -> None:
    for each in (replace(intent, waits=True), replace(intent, ended_micros=1)):
        assert next_step(replace(each, outcome=outcome, calls=calls), seen, TERMS).do is Do.WAIT


@pytest.mark.parametrize(
    ("intent", "seen", "do"),
    [
        (STOP, Seen(listed=True, machine=replace(RUNS, state=MachineState.STOPPED)), Do.CALL),
        (replace(STOP, calls=1), Seen(listed=True, machine=replace(RUNS, state=MachineState.STOPPED)), Do.DONE),
        (START, Seen(listed=True, machine=RUNS), Do.CALLED),
        (START, Seen(listed=True, machine=RUNS, serving=True), Do.DONE),
        (replace(START, outcome=Outcome.CALLED, calls=1), Seen(listed=True, waited=61), Do.FAIL),
        (replace(START, calls=3), Seen(listed=True, waited=61), Do.FAIL),
        (START, Seen(listed=True, invalid="full"), Do.WITHDRAW),
        (STOP, Seen(listed=True), Do.DONE),
        (STOP, Seen(listed=True, machine=RUNS), Do.DRAIN),
        (replace(STOP, outcome=Outcome.DRAINING), Seen(listed=True, machine=RUNS, waited=301), Do.WITHDRAW),
        (replace(STOP, outcome=Outcome.DRAINING), Seen(listed=True, machine=RUNS, empty=True), Do.CALL),
        (replace(STOP, outcome=Outcome.CALLED, calls=1), Seen(listed=True, machine=RUNS, waited=5), Do.WAIT),
    ],
)
def test_each_state_leads_on(intent: Intent, seen: Seen, do: Do) -> None:
    assert next_step(intent, seen, TERMS).do is do


async def test_a_node_is_empty_once_every_proxy_has_said_so_since_it_was_asked() -> None:
    clock = ManualClock()
    drains = Drains(clock)
    assert drains.wishes is None
    empty, busy = Drained(known=True, drained=True, in_flight=0), Drained(known=True, drained=True, in_flight=2)
    drains.hear("a", {"n": empty})
    drains.set([Wish("n", "idle")])
    assert not drains.progress("n").empty
    await clock.advance(1)
    drains.hear("a", {"n": empty})
    drains.hear("b", {"n": busy})
    assert drains.progress("n").pending == "2 calls under way through proxy b"
    drains.hear("b", {"n": Drained(known=True, drained=False, in_flight=0)})
    assert drains.progress("n").pending == "proxy b still sends it calls"
    drains.hear("b", {"n": Drained(known=False, drained=False, in_flight=0)})
    assert drains.progress("n").empty
    await clock.advance(FRESH + 1)
    drains.hear("a", {"n": empty})
    assert drains.progress("n").pending == "proxy b has not answered"
    await clock.advance(GONE)
    drains.hear("a", {"n": empty})
    assert drains.progress("n").empty


def test_nobody_answers_for_proxies_that_were_never_heard() -> None:
    drains = Drains(ManualClock())
    drains.set([Wish("n", "idle")])
    assert drains.progress("n").pending == "no proxy has answered"
