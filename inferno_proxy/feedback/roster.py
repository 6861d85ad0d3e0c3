"""Who serves what and where, followed from one fleet to the next: a change costs a look at the nodes that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from inferno_proxy.fleet import Address, FleetView, Member, changed


class Roster:
    """The nodes that take work: ``places`` has them by address, ``serving`` those whose calls may be moved, by
    model."""

    def __init__(self) -> None:
        self.places: dict[Address, str] = {}
        self.serving: dict[str, frozenset[str]] = {}
        self._view = FleetView()
        self._decoupled: Counter[str] = Counter()
        self._at_once: Counter[str] = Counter()

    @property
    def streamed(self) -> frozenset[str]:
        """The models that answer over a stream."""
        return frozenset(name for name, count in self._decoupled.items() if count)

    @property
    def at_once(self) -> Mapping[str, int]:
        """How many calls of a model all its nodes execute together; models that answer over a stream are not named."""
        return {name: count for name, count in self._at_once.items() if count and not self._decoupled[name]}

    def follow(self, view: FleetView) -> Mapping[str, frozenset[str]]:
        """Take in what changed: of each model whose nodes that touches, those of them that began a new life or left."""
        before, news = self._view.members, changed(self._view, view)
        self._view = view
        reborn = {name for name in news if not _same_life(before.get(name), view.members.get(name))}
        former: dict[str, set[str]] = {}
        for name in news:
            self._count(before.get(name), -1, former)
        now: dict[str, set[str]] = {}
        for name in news:
            self._count(view.members.get(name), +1, now)
        touched = former.keys() | now.keys()
        for model in touched:
            nodes = (self.serving.get(model, frozenset()) - former.get(model, set())) | now.get(model, set())
            self.serving[model] = nodes
            if not nodes:
                del self.serving[model]
        return {model: frozenset(former.get(model, set()) & reborn) for model in touched}

    def _count(self, member: Member | None, sign: int, serving: dict[str, set[str]]) -> None:
        if member is None:
            return
        node = member.node
        for model in node.models:
            self._decoupled[model.name] += sign * model.decoupled
        if not member.takes_work:
            return
        for address in node.addresses:
            if sign > 0:
                self.places[address] = node.node_id
            elif self.places.get(address) == node.node_id:
                del self.places[address]
        for model in node.models:
            if model.ready:
                self._at_once[model.name] += sign * max(1, model.instance_count) * max(1, model.max_batch_size)
                # Calls of a sequence stay where their state is, however slow that is.
                if not model.stateful:
                    serving.setdefault(model.name, set()).add(node.node_id)


def _same_life(before: Member | None, after: Member | None) -> bool:
    return before is not None and after is not None and before.node.incarnation == after.node.incarnation
