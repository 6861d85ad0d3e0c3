"""An entry of the ledger: what was decided, approved, done or measured, chained to the one before by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from inferno_governator.decisions import canonical

# What the first entry follows.
FIRST = "0" * 64


class Kind(Enum):
    """What an entry tells."""

    # A tick that decided something: inputs, candidates, the rule that fired, mode.
    DECISION = "decision"
    # Somebody allowed what was proposed.
    APPROVAL = "approval"
    # How far the action of a decision has come.
    OUTCOME = "outcome"
    # What it saved, against what was expected.
    SAVING = "saving"
    # Somebody changed the mode.
    MODE = "mode"
    # A tick that failed, and why.
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        number: 1, 2, 3 and so on, without a gap.
        at_micros: When it was written, in Unix microseconds.
        decision: Number of the decision that it is about; its own of a decision; 0 of none.
        by: Who is behind it: the governator, or a caller in words.
        content: What it says, by :attr:`kind`; canonical JSON.
        previous: Hash of the entry before.
        hash: SHA-256 of all of the above, in hex.
    """

    number: int
    at_micros: int
    kind: Kind
    decision: int
    by: str
    content: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that is to be written. ``decision`` None: its own number."""

    kind: Kind
    content: Mapping[str, Any]
    decision: int | None = 0
    by: str = "the governator"


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with the chain, and at which entry."""

    number: int
    sentence: str


def chained(draft: Draft, number: int, at_micros: int, previous: str) -> Entry:
    """The entry of a draft, after the one of hash ``previous``.

    Raises:
        ValueError: A number in it is infinite or none.
    """
    decision = number if draft.decision is None else draft.decision
    content = canonical.text(draft.content)
    hashed = digest(number, at_micros, draft.kind.value, decision, draft.by, content, previous)
    return Entry(number, at_micros, draft.kind, decision, draft.by, content, previous, hashed)


def digest(number: int, at_micros: int, kind: str, decision: int, by: str, content: str, previous: str) -> str:
    """SHA-256, in hex, of the canonical JSON of an entry's fields."""
    whole = canonical.text([number, at_micros, kind, decision, by, content, previous])
    return hashlib.sha256(whole.encode()).hexdigest()


class Verification:
    """Follows a chain from its first entry, in order, and names what is damaged first."""

    def __init__(self) -> None:
        self.count = 0
        self.head = FIRST
        self.damage: Damage | None = None

    def follow(self, entries: Iterable[Entry]) -> None:
        """Look at the entries that come next."""
        for each in entries:
            if self.damage is None:
                self.damage = self._wrong(each)
            self.count, self.head = self.count + 1, each.hash

    def end(self, count: int, head: str) -> Damage | None:
        """What is wrong, all in all, if there are ``count`` entries and the last has the hash ``head``."""
        if self.damage is None and (self.count, self.head) != (count, head):
            if self.count < count:
                return Damage(
                    self.count + 1, f"Entry {self.count + 1} is missing: {count} were written, {self.count} are there."
                )
            return Damage(self.count, f"Entry {self.count} is not the one that was written last.")
        return self.damage

    def _wrong(self, entry: Entry) -> Damage | None:
        expected = self.count + 1
        if entry.number != expected:
            return Damage(expected, f"Entry {expected} is missing; entry {entry.number} follows.")
        fields = (entry.number, entry.at_micros, entry.kind.value, entry.decision, entry.by, entry.content)
        if digest(*fields, entry.previous) != entry.hash:
            return Damage(entry.number, f"Entry {entry.number} is not what was written: its hash does not fit.")
        if entry.previous != self.head:
            return Damage(entry.number, f"Entry {entry.number} does not follow the one before it.")
        return None
