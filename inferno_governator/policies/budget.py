"""Stops nodes that only keep distance to the objective's edge, while a budget is passed."""

from __future__ import annotations

from inferno_governator.decisions.fleet import FleetFacts
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.fill import expected, spare, supply

# The objective holds up to here; a budget takes the headroom and not the promise.
EDGE = 1.0


def propose(facts: FleetFacts) -> list[Proposal]:
    """The dearest node of ours that the others can do without if filled to the edge; nothing while the budget is kept.

    One at a time: what a stop has done to latency is seen before the next.
    """
    if not facts.over_budget:
        return []
    among = sorted((node for node in supply(facts) if node.ours), key=lambda node: (-node.micros_per_hour, node.node))
    return [
        Proposal(
            Verb.STOP, node.pool, Reason.BUDGET,
            f"{facts.over_budget.rstrip('.')}; without {node.node} the others hold the objective with less to spare",
            node=node.node, evidence={"micros_per_hour": node.micros_per_hour},
            saves_micros_per_hour=node.micros_per_hour,
        )
        for node in spare(facts, [(expected(facts), EDGE)], among)[:1]
    ]  # fmt: skip
