"""Consolidation as Karpenter scores it: a node goes when what it saves is worth what it disturbs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inferno_governator.decisions.fleet import FleetFacts, NodeState, PoolFacts
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.baselines.sizing import nodes_of, towards


class ConsolidationScore:
    """Grow at once to what the demand needs; stop nodes that the others can stand in for.

    A node may go once the others could have carried the demand for ``after_seconds``, and its share of the fleet's cost
    is at least ``1 / k`` of its share of the requests under way; at most ``budget`` of the nodes go at a time
    (Karpenter's policy "Balanced": k = 2, a budget of 10 %, consolidateAfter 30 s).

    Args:
        fill: Share of a node's capacity that may be planned with.
    """

    def __init__(self, fill: float = 1.0, k: float = 2.0, after_seconds: float = 30.0, budget: float = 0.1) -> None:
        self._fill, self._k, self._after, self._budget = fill, k, after_seconds, budget
        self._spare_since: float | None = None

    def __call__(self, facts: FleetFacts) -> Sequence[Proposal]:
        """Starts at once, or a few stops."""
        pool = facts.pools[0]
        rate = sum(model.rate for model in facts.models)
        capacity = max(pool.capacity.values(), default=0.0) * self._fill
        needed = max(1, pool.minimum, math.ceil(rate / capacity)) if capacity else pool.maximum
        nodes = nodes_of(facts, pool.pool)
        if needed >= len(nodes):
            self._spare_since = None
            return towards(facts, pool, needed, f"{rate:.2f} requests a second need {needed} nodes.")
        if self._spare_since is None:
            self._spare_since = facts.at
        if facts.at - self._spare_since < self._after:
            return []
        return self._consolidate(facts, pool, needed)

    def _consolidate(self, facts: FleetFacts, pool: PoolFacts, needed: int) -> list[Proposal]:
        nodes = nodes_of(facts, pool.pool)
        running = sum(node.running for node in nodes)
        most = min(len(nodes) - needed, max(1, int(self._budget * len(nodes))))
        gone: list[Proposal] = []
        for node in sorted(nodes, key=lambda each: (each.state is NodeState.SERVING, each.running, each.node)):
            saving = node.micros_per_hour / sum(each.micros_per_hour for each in nodes)
            disturbing = node.running / running if running else 0.0
            if len(gone) < most and saving * self._k >= disturbing:
                sentence = f"It saves {saving:.0%} of the cost and disturbs {disturbing:.0%} of the requests."
                gone.append(Proposal(Verb.STOP, pool.pool, Reason.UNDER_UTILISED, sentence, node=node.node))
        return gone
