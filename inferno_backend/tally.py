"""What an agent has counted since it began, for its own page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Counts that only grow; whoever does a thing counts it.

    ``restarts``: Tritons started again after their end. ``answered`` and ``unanswered``: probes of Triton. ``stalls``:
    models withdrawn because their work did not move. ``drains``: times that no new work was wanted.
    """

    restarts: int = 0
    answered: int = 0
    unanswered: int = 0
    stalls: int = 0
    drains: int = 0
