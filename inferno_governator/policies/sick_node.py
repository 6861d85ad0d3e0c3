"""Replaces nodes that are lost or can do no work, and stops them once their successor serves."""

from __future__ import annotations

from collections.abc import Sequence

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState
from inferno_governator.decisions.history import Action
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies import successors
from inferno_governator.policies.settings import SickNodeSettings

_USELESS = (NodeState.SICK, NodeState.LOST)


def propose(facts: FleetFacts, settings: SickNodeSettings, history: Sequence[Action]) -> list[Proposal]:
    """Start what is missing; stop what a started one has replaced.

    A lost node may only be cut off, so it is stopped when its successor serves and not before.
    """
    found = []
    for node in facts.nodes:
        age = facts.at - node.since
        if node.state not in _USELESS or not node.pool or age < settings.after_seconds:
            continue
        known = successors.successor(node, history)
        evidence = {"seconds": age}
        if known is None:
            sentence = f"{node.node} has been {node.state.value} for {age:.0f} s{_why(node)}: another takes its place"
            proposal = successors.replace(facts, node, Reason.SICK_NODE, sentence, evidence)
            if proposal:
                found.append(proposal)
        elif node.ours and successors.serves(facts, known):
            sentence = f"{node.node} is {node.state.value}{_why(node)}, and {known.node} serves in its place"
            found.append(
                Proposal(
                    Verb.STOP, node.pool, Reason.SICK_NODE, sentence, node=node.node, evidence=evidence,
                    saves_micros_per_hour=node.micros_per_hour,
                )
            )  # fmt: skip
    return found


def _why(node: NodeFacts) -> str:
    return f" ({node.why.rstrip('.')})" if node.why else ""
