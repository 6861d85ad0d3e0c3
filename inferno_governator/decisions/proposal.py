"""What is proposed, with its one reason, and what guards say to it. Money is in micro-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Verb(Enum):
    """What is done to a node. Nothing else is: to replace one is to start its successor and stop it later."""

    START = "start"
    STOP = "stop"


class Reason(Enum):
    """Why. In the order in which policies speak: what keeps the promise comes before what saves money."""

    # A node is lost or can do no work, and its successor is missing.
    SICK_NODE = "sick_node"
    # The machine is taken back soon: the successor must be ready before.
    SPOT_NOTICE = "spot_notice"
    # Fewer nodes than the pool or the model must have.
    BELOW_MINIMUM = "below_minimum"
    # The objective is missed, or will be before a node that is started later serves.
    OBJECTIVE_AT_RISK = "objective_at_risk"
    BUDGET = "budget"
    # It has had nothing to do for as long as starting it again costs.
    IDLE = "idle"
    # The others can carry what it does within the objective.
    UNDER_UTILISED = "under_utilised"
    # Another kind of node does the same for less.
    CHEAPER_MIX = "cheaper_mix"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One node to start or to stop.

    Attributes:
        pool: Pool in which it is started or stopped.
        node: The node to stop; empty to start one. Its name is given when it is acted on.
        instead_of: The node whose place a started one takes; empty when it takes nobody's.
        sentence: Why, for people, with the figures that decided it.
        evidence: The figures by name, as the policy read them.
        saves_micros_per_hour: What it is expected to save; negative for what it costs.
    """

    verb: Verb
    pool: str
    reason: Reason
    sentence: str
    node: str = ""
    instead_of: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    saves_micros_per_hour: int = 0


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the guards say to a proposal: ``guard`` names the one that forbids it; empty when none does."""

    proposal: Proposal
    guard: str = ""
    sentence: str = ""

    @property
    def allowed(self) -> bool:
        """No guard forbids it."""
        return not self.guard
