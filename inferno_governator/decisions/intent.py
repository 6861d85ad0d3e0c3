"""What is to be done to one node, as it lies on disk before anything is done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from inferno_governator.decisions.history import Action, Outcome
from inferno_governator.decisions.proposal import Reason, Verb

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Intent:
    """One start or stop.

    Attributes:
        number: Its own, in the order in which intents were written.
        decision: Number of the ledger's entry that decided it.
        node: The node to stop; of a start, the name that the new node has (:func:`node_name`).
        instead_of: The node whose place a started one takes; empty when it takes nobody's.
        waits: Somebody must approve it first.
        rehearsed: Everything is done but the provider's call, and the drain.
        outcome: How far it has come.
        sentence: What happened last, for people.
        called_micros: When the provider was called last, whether it answered or not; 0: never.
        calls: How often it was called.
        ended_micros: 0 while it is under way.
        measured_micros: When it was measured what it saved; 0: not yet.
    """

    number: int
    decision: int
    verb: Verb
    reason: Reason
    pool: str
    node: str
    instead_of: str = ""
    saves_micros_per_hour: int = 0
    waits: bool = False
    rehearsed: bool = False
    outcome: Outcome = Outcome.INTENDED
    sentence: str = ""
    begun_micros: int = 0
    called_micros: int = 0
    calls: int = 0
    ended_micros: int = 0
    measured_micros: int = 0

    @property
    def action(self) -> Action:
        """The same as guards see it."""
        ended = self.ended_micros / _MICROS if self.ended_micros else None
        return Action(
            self.decision,
            self.verb,
            self.reason,
            self.pool,
            self.node,
            self.outcome,
            self.begun_micros / _MICROS,
            ended,
            self.instead_of,
        )


def node_name(pool: str, decision_hash: str, place: int) -> str:
    """The name of a node that a decision starts: the same whenever it is asked for, and no other intent's.

    The hash of the decision's entry makes it, not its number: numbers begin again in a new database, while machines of
    the one before may still run.

    >>> node_name("small", "ab" * 32, 0), node_name("small", "ab" * 32, 1)
    ('small-d511e911', 'small-a726311f')
    """
    return f"{pool}-{hashlib.sha256(f'{decision_hash}/{place}'.encode()).hexdigest()[:8]}"
