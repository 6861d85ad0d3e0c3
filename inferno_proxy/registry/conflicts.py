"""Nodes that two sources name differently: told once, with the rule that decides, and once more when it is over."""

from __future__ import annotations

from collections.abc import Container, Hashable

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Source
from inferno_proxy.registry.membership import Record


class Conflicts:
    """The conflicts that are known now, by whatever key their finder gives them."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._open: dict[Hashable, tuple[str, str]] = {}

    def began(self, key: Hashable, subject: str, sentence: str) -> None:
        """Two sources disagree; ``sentence`` names both and the rule. Said again only when it says something else."""
        if self._open.get(key) != (subject, sentence):
            self._open[key] = (subject, sentence)
            self._events.add("DISCOVERY_CONFLICT", subject, sentence)

    def over(self, key: Hashable) -> None:
        """They no longer do; nothing when they never did."""
        if key in self._open:
            subject, sentence = self._open.pop(key)
            self._events.add("DISCOVERY_SETTLED", subject, f"This is over: {sentence}")

    def keep(self, keys: Container[Hashable]) -> None:
        """Only these can still disagree: the others are over."""
        for key in [each for each in self._open if each not in keys]:
            self.over(key)

    def judged(self, record: Record, rival: Record | None) -> None:
        """A node was judged; ``rival`` is the strongest other one at one of its addresses.

        What two agents claim is no conflict of sources: the later one has replaced the earlier.
        """
        node = record.node
        if rival is None or rival.strength < record.strength or _agents(record, rival) or record.withdrawn:
            self.over(node.node_id)
            return
        taken = next(each for each in record.addresses if each in rival.addresses)
        one, other = f"{node.node_id!r} ({record.source.value})", f"{rival.node.node_id!r} ({rival.source.value})"
        counts = f"{rule(rival.source)}, so {rival.node.node_id!r} counts"
        self.began(node.node_id, node.node_id, f"Nodes {one} and {other} both claim {taken}: {counts}.")


def rule(winner: Source) -> str:
    """Why the one that holds a name or an address keeps it."""
    if winner is Source.AGENT:
        return "an agent comes before what is listed or announced"
    return "who came first stays"


def _agents(record: Record, rival: Record) -> bool:
    return record.source is rival.source is Source.AGENT
