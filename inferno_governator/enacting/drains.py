"""Which nodes the proxies are to take out of traffic, and how far each proxy has come with it.

The governator calls nobody: each proxy asks, once a second, and says in the same call what it has in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inferno_runtime.clock import Clock

# Seconds after which a proxy's word is no longer news, and after which a proxy that says nothing is gone. Until then a
# drain waits for it: it may still send calls to the node.
FRESH = 5.0
GONE = 60.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A node that is to be taken out of traffic, and why."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drained:
    """What a proxy says of a node: it gets no new calls, and so many are under way on it. A proxy that does not know
    the node says so by ``known``."""

    known: bool
    drained: bool
    in_flight: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Whether a node is empty; if not, what is waited for, for people."""

    empty: bool
    pending: str = ""


class Drains:
    """The wishes that hold, and the proxies' answers. In memory: wishes follow from the intents that are on disk, and
    proxies keep what they have drained."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wishes: Mapping[str, Wish] | None = None
        self._asked_at: dict[str, float] = {}
        self._heard: dict[str, tuple[float, Mapping[str, Drained]]] = {}

    @property
    def wishes(self) -> list[Wish] | None:
        """All that hold, by node; None before they are known: a governator that has just started lifts no drain."""
        return None if self._wishes is None else [self._wishes[name] for name in sorted(self._wishes)]

    def set(self, wishes: Iterable[Wish]) -> None:
        """From now on these hold, and no others."""
        self._wishes = {each.node: each for each in wishes}
        now = self._clock.monotonic()
        self._asked_at = {name: self._asked_at.get(name, now) for name in self._wishes}

    def hear(self, proxy: str, nodes: Mapping[str, Drained]) -> None:
        """A proxy has said how far it is."""
        now = self._clock.monotonic()
        self._heard = {name: word for name, word in self._heard.items() if now - word[0] < GONE}
        self._heard[proxy] = (now, nodes)

    def progress(self, node: str) -> Progress:
        """How far a node's drain has come, by every proxy that is there."""
        now = self._clock.monotonic()
        asked = self._asked_at.get(node)
        there = {name: word for name, word in self._heard.items() if now - word[0] < GONE}
        if asked is None:
            return Progress(False, "no proxy was asked yet")
        if not there:
            return Progress(False, "no proxy has answered")
        for name, (at, nodes) in sorted(there.items()):
            said = nodes.get(node)
            if said is None or at <= asked or now - at > FRESH:
                return Progress(False, f"proxy {name} has not answered")
            if said.known and not said.drained:
                return Progress(False, f"proxy {name} still sends it calls")
            if said.in_flight:
                return Progress(False, f"{said.in_flight} calls under way through proxy {name}")
        return Progress(True)
