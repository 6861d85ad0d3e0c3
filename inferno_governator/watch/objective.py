"""What a model promises: the share of its requests that must be good, and which ones are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inferno_runtime.errors import InvalidInput

DAYS = 30
_MODEL = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
_MOST_DAYS = 90
# An hour: nobody promises more, and beyond the histograms' last bound nothing is known.
_MOST_MICROS = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Objective:
    """What a model promises. Zero: not promised.

    ``share`` of the requests must be good: answered, within ``latency_micros``, and not in a stretch in which requests
    waited longer than ``queue_micros`` in the node's queue on average. ``days`` is the period of the error budget.
    """

    model: str
    share: float
    latency_micros: int = 0
    queue_micros: int = 0
    days: int = DAYS


def check(objective: Objective) -> Objective:
    """The objective, once nothing in it is impossible.

    Raises:
        InvalidInput: A field is impossible; the sentence names it.
    """
    if not _MODEL.fullmatch(objective.model):
        raise _refusal("model", "its name is empty, longer than 256, or holds control characters")
    # Not a number is neither.
    if not 0 < objective.share < 1:
        raise _refusal("share", f"{objective.share:g} is not between 0 and 1")
    for name, micros in (("latency", objective.latency_micros), ("queue", objective.queue_micros)):
        if not 0 <= micros <= _MOST_MICROS:
            raise _refusal(name, f"{micros} us is not between 0 and an hour")
    if not 1 <= objective.days <= _MOST_DAYS:
        raise _refusal("days", f"{objective.days} is not between 1 and {_MOST_DAYS}")
    return objective


def _refusal(name: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"The objective is refused: {name}: {why}.", reason="BAD_OBJECTIVE", fix="Correct it.", metadata={"field": name}
    )
