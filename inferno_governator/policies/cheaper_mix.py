"""Starts a cheaper kind of node that does what a dearer one does; the dearer one is then not needed any more.

As karpenter's disruption by price, weighed: what is saved must pay for the change within a time, and must be a
good part of the price, or small moves of prices would keep nodes coming and going.
"""

from __future__ import annotations

from collections.abc import Sequence

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.history import Action
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies import successors
from inferno_governator.policies.fill import pools, supply
from inferno_governator.policies.settings import MixSettings
from inferno_governator.policies.starting import room

_HOUR = 3600.0


def propose(facts: FleetFacts, settings: MixSettings, history: Sequence[Action]) -> list[Proposal]:
    """The one change that saves most, and none while a node starts or drains: the fleet is then not what it will be."""
    if any(node.state in {NodeState.STARTING, NodeState.DRAINING} for node in facts.nodes):
        return []
    known = pools(facts)
    found = []
    for node in supply(facts):
        own = known.get(node.pool)
        if own is None or own.unpriced or not node.ours or successors.successor(node, history):
            continue
        for other in facts.pools:
            saved = node.micros_per_hour - other.micros_per_hour
            if _does_as_much(own, other, node) and room(facts, other) and saved > 0:
                proposal = _change(node, own, other, saved, settings)
                if proposal:
                    found.append(proposal)
    return [max(found, key=lambda each: each.saves_micros_per_hour)] if found else []


def _does_as_much(own: PoolFacts, other: PoolFacts, node: NodeFacts) -> bool:
    """True when a node of another pool serves each of a node's models as fast, by measured capacities."""
    return other.pool != own.pool and all(
        0 < own.capacity.get(model, 0.0) <= other.capacity.get(model, 0.0) for model in node.models
    )  # fmt: skip


def _change(node: NodeFacts, own: PoolFacts, other: PoolFacts, saved: int, settings: MixSettings) -> Proposal | None:
    share = saved / node.micros_per_hour
    # Both are paid for while the new one starts, and until the old one has not been needed for a start of its own.
    costs = (other.micros_per_hour * other.boot_seconds + node.micros_per_hour * own.boot_seconds) / _HOUR
    payback = costs / saved * _HOUR
    if share < settings.least_share or payback > settings.payback_seconds:
        return None
    return Proposal(
        Verb.START, other.pool, Reason.CHEAPER_MIX,
        f"a node of pool {other.pool} serves as much as {node.node} for {share:.0%} less, and pays for the change in "
        f"{payback / 60:.0f} min",
        instead_of=node.node, evidence={"share": share, "payback_seconds": payback}, saves_micros_per_hour=saved,
    )  # fmt: skip
