"""Whose reports of load are believed: every report is held against the ones before it and against what was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from inferno_proxy.feedback.claims import FRESH, PENANCE, Ledger, Seen
from inferno_proxy.fleet import FleetView, Load, ModelLoad, changed
from inferno_proxy.supervisor.act import Act


@dataclass(frozen=True, slots=True)
class Distrust:
    """A node caught with a wrong report: since when and until when it is not believed (monotonic seconds), and why."""

    since: float
    until: float
    why: str


class Audit:
    """The reports of all nodes."""

    def __init__(self) -> None:
        self._view = FleetView()
        self._states: dict[str, tuple[int, int]] = {}
        self._heard: dict[str, float] = {}
        self._ledgers: dict[str, dict[str, Ledger]] = {}
        self._newest: dict[str, dict[str, ModelLoad]] = {}
        self._distrusted: dict[str, Distrust] = {}

    def follow(self, view: FleetView) -> None:
        """Forget nodes that left. Accounts begin anew with each revision: a model server that restarted counts from 0.

        A node that was caught is believed again when its next life begins.
        """
        news, self._view = changed(self._view, view), view
        for name in news:
            before, member = self._states.pop(name, None), view.members.get(name)
            state = (member.node.incarnation, member.node.revision) if member else None
            if state is not None:
                self._states[name] = state
            else:
                # What was heard stays known through a restart: it was the former life's.
                self._heard.pop(name, None)
            if state != before:
                self._ledgers.pop(name, None)
                self._newest.pop(name, None)
            if state is None or before is None or before[0] != state[0]:
                self._distrusted.pop(name, None)

    def heard(self, loads: Mapping[str, Load], seen: Callable[[str, str, float], Seen], now: float) -> list[Act]:
        """Take the newest reports in. ``seen`` says what was observed of a model at a node."""
        acts = [self._forgiven(node, now) for node, kept in list(self._distrusted.items()) if now >= kept.until]
        for node, load in loads.items():
            if node not in self._states or self._heard.get(node) == load.at:
                continue
            self._heard[node] = load.at
            self._newest[node] = {each.model: each for each in load.models}
            ledgers = self._ledgers.setdefault(node, {})
            for each in load.models:
                ledger = ledgers.setdefault(each.model, Ledger())
                if why := ledger.enter(each, load.at, seen(each.model, node, now)):
                    acts += self._caught(node, each.model, why, now)
        return acts

    def believed(self, model: str, nodes: Iterable[str], now: float) -> dict[str, ModelLoad]:
        """What these nodes report of a model, by node_id: only what is fresh, and only of nodes that are believed."""
        return {
            node: claim
            for node in nodes
            if (claim := self._newest.get(node, {}).get(model)) is not None
            and now - self._heard[node] <= FRESH
            and node not in self._distrusted
        }

    def _caught(self, node: str, model: str, why: str, now: float) -> list[Act]:
        before = self._distrusted.get(node)
        self._distrusted[node] = Distrust(before.since if before else now, now + PENANCE, why)
        if before:
            return []
        cause = f"Its report of model {model} cannot be true"
        return [Act("LOAD_DISTRUSTED", node, cause, why, "what it reports is ignored, its share follows what is seen")]

    def _forgiven(self, node: str, now: float) -> Act:
        kept = self._distrusted.pop(node)
        evidence = f"no contradiction for {PENANCE:g} s"
        effect = "what it reports counts again"
        return Act("LOAD_TRUSTED", node, "Its report could not be true", evidence, effect, now - kept.since)
