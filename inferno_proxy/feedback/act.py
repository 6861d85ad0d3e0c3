"""An act of healing that a judgement calls for, as a value: the loop around the judgement reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Act:
    """The arguments of :meth:`inferno_proxy.events.EventLog.healed`."""

    kind: str
    subject: str
    cause: str
    evidence: str
    effect: str
    seconds: float | None = None
