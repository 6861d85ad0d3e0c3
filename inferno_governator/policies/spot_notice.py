"""Starts the successor of a node whose machine is taken back, before it goes."""

from __future__ import annotations

from collections.abc import Sequence

from inferno_governator.decisions.fleet import FleetFacts, NodeState
from inferno_governator.decisions.history import Action
from inferno_governator.decisions.proposal import Proposal, Reason
from inferno_governator.policies import successors

_THERE = (NodeState.STARTING, NodeState.SERVING, NodeState.DRAINING)


def propose(facts: FleetFacts, history: Sequence[Action]) -> list[Proposal]:
    """One successor for each node with a notice, in another zone where there is a pool: zones are taken back together.

    The node itself is left alone: it drains by its notice, and its machine goes without us.
    """
    found = []
    for node in facts.nodes:
        if node.notice_at is None or node.state not in _THERE or not node.pool:
            continue
        if successors.successor(node, history):
            continue
        left = node.notice_at - facts.at
        pool = next((pool for pool in facts.pools if pool.pool == node.pool), None)
        boot = pool.boot_seconds if pool else 0.0
        sentence = (
            f"the machine of {node.node} is taken back in {max(0.0, left):.0f} s, "
            f"and a successor serves {boot:.0f} s after its start"
        )
        evidence = {"seconds_left": left, "boot_seconds": boot}
        # Without a zone there is none to avoid.
        proposal = successors.replace(facts, node, Reason.SPOT_NOTICE, sentence, evidence, avoid=node.zone)
        if proposal:
            found.append(proposal)
    return sorted(found, key=lambda each: each.evidence["seconds_left"])
