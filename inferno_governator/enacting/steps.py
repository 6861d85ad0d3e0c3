"""What is to be done next about an intent: a pure judgement of what is on disk and what is seen now.

However often it is asked, and whatever was lost in between, a machine is asked for only while the provider's list has
none of the node's name, and not before an earlier call has had time to show in that list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Verb
from inferno_governator.providers.provider import Machine, MachineState

SETTLE = 60.0
_GOING = frozenset({MachineState.STOPPING, MachineState.STOPPED})


class Do(Enum):
    """What comes next."""

    WAIT = "wait"
    DRAIN = "drain"
    CALL = "call"
    # The provider has it: no call is needed (any more).
    CALLED = "called"
    DONE = "done"
    FAIL = "fail"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Step:
    """What comes next, and why, for people."""

    do: Do
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds. ``settle``: after which a machine that was asked for, or stopped, shows in its provider's list.
    ``boot``: after which one that serves nothing has failed. ``drain``: for which a node may finish its work."""

    settle: float = SETTLE
    boot: float = 1800.0
    drain: float = 300.0
    most_calls: int = 3
    # Work that a drain leaves unfinished may be cut off: it is tried again elsewhere.
    interruptible: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of an intent's node now.

    Attributes:
        listed: The provider has told all its machines; without that nobody knows what there is.
        machine: The one of the node's name; None where there is none.
        serving: The node takes traffic.
        empty: Every proxy has taken the node out and has no call on it.
        pending: What the drain waits for, for people.
        invalid: Why it is not to be done any more, by fresh facts; empty while it is.
        waited: Seconds since this process has seen the intent as it is now. By a monotonic clock, so a restart waits
            again: too long, never too short.
    """

    listed: bool
    machine: Machine | None = None
    serving: bool = False
    empty: bool = False
    pending: str = ""
    invalid: str = ""
    waited: float = 0.0


_WAIT = Step(Do.WAIT)


def next_step(intent: Intent, seen: Seen, terms: Terms) -> Step:
    """What comes next."""
    if intent.ended_micros or intent.waits or not seen.listed:
        return _WAIT
    return _start(intent, seen, terms) if intent.verb is Verb.START else _stop(intent, seen, terms)


def _start(intent: Intent, seen: Seen, terms: Terms) -> Step:
    if seen.machine is not None:
        return _started(intent, seen.machine, seen, terms)
    if intent.calls and seen.waited < terms.settle:
        return _WAIT
    if intent.outcome is Outcome.CALLED:
        return Step(Do.FAIL, "The provider accepted it, and lists no such machine any more.")
    if intent.calls >= terms.most_calls:
        return Step(Do.FAIL, f"The provider was asked {intent.calls} times, and lists no such machine.")
    if seen.invalid:
        return Step(Do.WITHDRAW, seen.invalid)
    return Step(Do.CALL)


def _started(intent: Intent, machine: Machine, seen: Seen, terms: Terms) -> Step:
    if seen.serving:
        return Step(Do.DONE, "It serves.")
    if machine.state in _GOING:
        return Step(Do.FAIL, f"Its machine is {machine.state.value} before it served. {machine.why}".strip())
    if intent.outcome is not Outcome.CALLED:
        return Step(Do.CALLED, "The provider lists it.")
    if seen.waited >= terms.boot:
        return Step(Do.FAIL, f"It has not served within {terms.boot:g} s. {machine.why}".strip())
    return _WAIT


def _stop(intent: Intent, seen: Seen, terms: Terms) -> Step:
    if seen.machine is None:
        return Step(Do.DONE, "Its machine is gone.")
    if seen.machine.state is MachineState.STOPPED:
        # One that has ended by itself may still cost something, and is listed until its provider is told.
        return Step(Do.DONE, "Its machine is stopped.") if intent.calls else Step(Do.CALL)
    if seen.machine.state is MachineState.STOPPING:
        return _WAIT if intent.outcome is Outcome.CALLED else Step(Do.CALLED, "The provider is stopping it.")
    if intent.calls:
        return _stop_again(intent, seen, terms)
    if intent.outcome is Outcome.INTENDED:
        return Step(Do.WITHDRAW, seen.invalid) if seen.invalid else Step(Do.DRAIN, "It finishes what it has.")
    if not seen.empty and seen.waited < terms.drain:
        return Step(Do.WITHDRAW, seen.invalid) if seen.invalid else _WAIT
    if not seen.empty and not terms.interruptible:
        return Step(Do.WITHDRAW, f"It is not empty after {terms.drain:g} s ({seen.pending}).")
    return Step(Do.WITHDRAW, seen.invalid) if seen.invalid else Step(Do.CALL)


def _stop_again(intent: Intent, seen: Seen, terms: Terms) -> Step:
    """It was empty before the first call; whether that call arrived, only the list tells."""
    if seen.waited < terms.settle:
        return _WAIT
    if intent.calls >= terms.most_calls:
        return Step(Do.FAIL, f"The provider was asked {intent.calls} times, and the machine still runs.")
    return Step(Do.CALL)
