"""An act of healing as a value: a judgement calls for it, or the supervisor did it, and an event tells of it."""

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
