"""Whether a node that goes has a successor already."""

from __future__ import annotations

from collections.abc import Iterable

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.history import Action, Outcome
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.starting import cheapest, room

_IN_VAIN = (Outcome.FAILED, Outcome.WITHDRAWN)


def successor(node: NodeFacts, history: Iterable[Action]) -> Action | None:
    """The action that started a node in this one's place, unless it came to nothing."""
    return next(
        (
            each
            for each in history
            if each.instead_of == node.node and each.verb is Verb.START and each.outcome not in _IN_VAIN
        ),
        None,
    )


def serves(facts: FleetFacts, action: Action) -> bool:
    """True when the node of an action takes traffic."""
    return any(node.node == action.node and node.state is NodeState.SERVING for node in facts.nodes)


def replace(
    facts: FleetFacts, node: NodeFacts, reason: Reason, sentence: str, evidence: dict[str, float], *, avoid: str = ""
) -> Proposal | None:
    """Start a node in another's place: in its own pool where that has room, else where its first model costs least.

    None when no pool has room: then nothing is to be proposed.
    """
    pool = _own(facts, node, avoid) or (cheapest(facts, node.models[0], avoid=avoid) if node.models else None)
    if pool is None:
        return None
    return Proposal(
        Verb.START, pool.pool, reason, sentence, instead_of=node.node, evidence=evidence,
        saves_micros_per_hour=node.micros_per_hour - pool.micros_per_hour,
    )  # fmt: skip


def _own(facts: FleetFacts, node: NodeFacts, avoid: str) -> PoolFacts | None:
    own = next((pool for pool in facts.pools if pool.pool == node.pool), None)
    if own is None or (avoid and own.zone == avoid):
        return None
    return own if room(facts, own) else None
