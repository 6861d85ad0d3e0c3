"""What is billed, as values: one use of one node in a stretch of time, with its cost and its counters.

Everything that explains a bill (reports, splits of a change, exports, budgets, alerts) reads these and nothing else.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from inferno_governator.usage import Facts


class Purpose(Enum):
    """What a node's time was paid for."""

    # A model computed.
    WORK = "work"
    # The node could serve, and no model computed.
    IDLE = "idle"
    # The node could not serve: it started, loaded models, drained, or nobody measured it within its life.
    OVERHEAD = "overhead"
    # No node's time: a commitment was paid for that no node used.
    UNUSED = "unused"


class Item(NamedTuple):
    """One use of one node in a stretch of time.

    Times are in microseconds and money in micro-dollars. Over any stretch, ``paid_micros`` of a node's items add up to
    the time the node is billed for, and ``cost_micros`` to its bill, exactly. What is unused of a commitment is an item
    of no node.
    """

    # Unix minutes: from ``start_minute``, ``minutes`` long (1, 60 or 1440; shorter at the edges of a question, longer
    # where nobody asks when it was).
    start_minute: int
    minutes: int
    node: str
    # The node's price and nature while it was so; a stretch in which they changed has an item for each.
    facts: Facts
    purpose: Purpose
    # Empty but for work.
    model: str
    version: str
    # Who asked: empty where nobody says (no proxy reports it, or calls need no key).
    team: str
    key: str
    paid_micros: int
    cost_micros: int
    requests: int = 0
    errors: int = 0
    inferences: int = 0
    # Zero where nobody counts them.
    input_tokens: int = 0
    output_tokens: int = 0
    request_micros: int = 0
    queue_micros: int = 0
    compute_micros: int = 0
    # The part of the cost that used up the commitment of the facts.
    committed_micros: int = 0
