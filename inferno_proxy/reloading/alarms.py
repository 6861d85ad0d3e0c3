"""What clients do that calls for a look at what they were sent: they refuse it, or they keep ending under it."""

from __future__ import annotations

from collections import deque

from inferno_proxy.events import EventLog
from inferno_proxy.xds.clients import ClientEvent
from inferno_runtime.clock import Clock
from inferno_runtime.latest import Latest

# So many ends of one client's streams within so many seconds: a restart or two of its own do not count.
_ENDS = 3
_WITHIN = 10.0


class Alarms:
    """Counts alarms; ``unsteady`` are the clients that keep ending, until somebody has looked.

    ``report`` is for a table of clients, whose events are kept as well.
    """

    def __init__(self, events: EventLog, clock: Clock) -> None:
        self.count = Latest(0)
        self.unsteady: set[str] = set()
        self._events = events
        self._clock = clock
        self._ends: dict[str, deque[float]] = {}

    def ring(self) -> None:
        """Have somebody look."""
        self.count.set(self.count.value + 1)

    def report(self, event: ClientEvent) -> None:
        """Keep an event of a client, and ring for a refusal and for an end too many."""
        self._events.add(event.kind, event.client_id, event.message)
        if event.kind == "CLIENT_REFUSED":
            self.ring()
        elif event.kind == "CLIENT_DISCONNECTED" and self._keeps_ending(event.client_id):
            self.unsteady.add(event.client_id)
            self.ring()

    def _keeps_ending(self, client_id: str) -> bool:
        now = self._clock.monotonic()
        # Clients whose ends are long past are forgotten, or names would pile up.
        self._ends = {name: ends for name, ends in self._ends.items() if now - ends[-1] < _WITHIN}
        ends = self._ends.setdefault(client_id, deque(maxlen=_ENDS))
        ends.append(now)
        if len(ends) < _ENDS or now - ends[0] > _WITHIN:
            return False
        del self._ends[client_id]
        return True
