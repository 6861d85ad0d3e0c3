"""What an alert is: something found, with its cause in a sentence, the figures behind it, and what to look at next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Kind(StrEnum):
    """What an alert is about."""

    # An objective's error budget burns too fast.
    OBJECTIVE = "objective"
    # Spend per request is out of the ordinary.
    SPEND = "spend"
    # A budget reaches a threshold, or will be spent before its period ends.
    BUDGET = "budget"
    # The price of nodes changed.
    PRICE = "price"
    # A node is to be taken back, went silent, or loses telemetry.
    NODE = "node"
    # Nodes have no price, so the bill is too low.
    UNPRICED = "unpriced"


class Severity(IntEnum):
    """How soon somebody should look: some day, today, now. The numbers are those of the wire and of the store."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found. ``kind`` and ``subject`` say what it is about: the same again is the same alert."""

    kind: Kind
    subject: str
    severity: Severity
    # One sentence.
    cause: str
    # A command.
    next_step: str
    # Figures, ready to read.
    evidence: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for what it is about."""
        return hashlib.sha256(f"{self.kind}\0{self.subject}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding that lasts, or lasted. Times are Unix microseconds; ``end_micros`` None: it lasts.

    One that is silenced until some time is not told to anybody before.
    """

    finding: Finding
    start_micros: int
    end_micros: int | None = None
    silenced_until_micros: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other alert."""
        return self.finding.fingerprint, self.start_micros


@dataclass(frozen=True, slots=True)
class Told:
    """The last that a receiver was told of an alert."""

    severity: Severity
    ended: bool
