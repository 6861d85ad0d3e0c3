"""What the mesh did by itself and what was done to it: the last events for whoever watches, and a log line each."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from inferno_runtime import logs
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

_LOG = logs.get("mesh")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. ``time`` is Unix seconds; ``number`` counts events from 1 without a gap.

    ``kind`` is UPPER_SNAKE_CASE; ``subject`` is a node_id, a model or a client_id; ``message`` is one sentence that
    says it all. An act of healing has its parts as well: ``cause`` is what went wrong, ``evidence`` what was measured,
    ``effect`` what was done about it, and ``seconds`` how long the trouble lasted, on the event that ends it.
    """

    number: int
    time: float
    kind: str
    subject: str
    message: str
    cause: str = ""
    evidence: str = ""
    effect: str = ""
    seconds: float | None = None


class EventLog:
    """The last ``capacity`` events, and how many of each kind there were in all."""

    def __init__(self, clock: Clock, capacity: int = 1000) -> None:
        self._clock = clock
        self._kept: deque[Event] = deque(maxlen=capacity)
        self._last = Latest(0)
        self.counts: Counter[str] = Counter()

    @property
    def kept(self) -> tuple[Event, ...]:
        """The events still kept, oldest first."""
        return tuple(self._kept)

    def add(self, kind: str, subject: str, message: str) -> None:
        """Keep an event and log it."""
        self._keep(Event(self._last.value + 1, self._clock.wall(), kind, subject, message))

    def healed(
        self, kind: str, subject: str, *, cause: str, evidence: str, effect: str, seconds: float | None = None
    ) -> None:
        """Keep an act of healing: each part is a sentence without its full stop."""
        number, now = self._last.value + 1, self._clock.wall()
        lasted = "" if seconds is None else f" after {seconds:.1f} s"
        message = f"{cause} ({evidence}): {effect}{lasted}."
        self._keep(Event(number, now, kind, subject, message, cause, evidence, effect, seconds))

    def _keep(self, event: Event) -> None:
        self._kept.append(event)
        self.counts[event.kind] += 1
        _LOG.info(event.message, event_kind=event.kind, subject=event.subject)
        self._last.set(event.number)

    async def follow(self, *, only_new: bool = False) -> AsyncGenerator[Event, None]:
        """Yield the events kept so far (none with ``only_new``), then each new one, without end.

        A reader slower than ``capacity`` events misses the oldest; the numbers show the gap.
        """
        seen = self._last.value if only_new else 0
        async for _ in self._last.watch():
            for event in [e for e in self._kept if e.number > seen]:
                seen = event.number
                yield event
