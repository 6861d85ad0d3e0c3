"""What has been done lately, which guards look at. Times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from inferno_governator.decisions.proposal import Reason, Verb


class Outcome(Enum):
    """How far an action has come."""

    # The intent is on disk; whether the provider was called is not known.
    INTENDED = "intended"
    # The node is taken out of traffic and finishes what it has.
    DRAINING = "draining"
    # The provider has said yes.
    CALLED = "called"
    DONE = "done"
    FAILED = "failed"
    # Fresh state said that it is not wanted any more: nothing was done.
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Action:
    """One action, begun or ended. ``ended_at`` is None while it is under way.

    ``instead_of`` is the node whose place a started one takes; empty when it takes nobody's.
    """

    decision: int
    verb: Verb
    reason: Reason
    pool: str
    node: str
    outcome: Outcome
    begun_at: float
    ended_at: float | None = None
    instead_of: str = ""
