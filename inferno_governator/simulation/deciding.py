"""Our own policies and guards in a replay: the very decisions that a live governator takes, on simulated facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inferno_governator.decisions.fleet import FleetFacts
from inferno_governator.decisions.history import Action, Outcome
from inferno_governator.decisions.proposal import Proposal, Verb
from inferno_governator.policies.deciding import DecidingSettings, decide

# Guards look back an hour; who took whose place is remembered for as long as that node is there.
_REMEMBERED_SECONDS = 2 * 3600.0


class Deciding:
    """Remembers what it did as the ledger does. A start of which no node came of was refused by the cloud."""

    def __init__(self, settings: DecidingSettings | None = None) -> None:
        self._settings = settings or DecidingSettings()
        self._history: list[Action] = []
        self._seen: set[str] = set()
        self._decisions = 0

    def __call__(self, facts: FleetFacts) -> Sequence[Proposal]:
        """What the guards let pass."""
        self._name_started(facts)
        chosen = [each.proposal for each in decide(facts, self._settings, self._history) if each.allowed]
        self._decisions += bool(chosen)
        self._history += [
            Action(
                self._decisions,
                each.verb,
                each.reason,
                each.pool,
                each.node,
                Outcome.CALLED if each.verb is Verb.START else Outcome.DONE,
                facts.at,
                None if each.verb is Verb.START else facts.at,
                instead_of=each.instead_of,
            )
            for each in chosen
        ]
        return chosen

    def _name_started(self, facts: FleetFacts) -> None:
        """Give the starts of the look before the names of the nodes that came of them."""
        new: dict[str, list[str]] = {}
        for node in facts.nodes:
            if node.node not in self._seen:
                new.setdefault(node.pool, []).append(node.node)
                self._seen.add(node.node)
        kept = []
        present = {node.node for node in facts.nodes}
        for action in self._history:
            if action.ended_at is None:
                names = new.get(action.pool, [])
                name = names.pop(0) if names else ""
                outcome = Outcome.DONE if name else Outcome.FAILED
                action = replace(action, node=name, outcome=outcome, ended_at=facts.at)  # noqa: PLW2901
            if facts.at - action.begun_at < _REMEMBERED_SECONDS or action.instead_of in present:
                kept.append(action)
        self._history = kept
