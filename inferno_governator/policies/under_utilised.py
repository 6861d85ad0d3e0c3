"""Stops nodes that the others could have done without for as long as starting them again costs.

Traffic is spread over all nodes, so that none is ever idle by itself. Which ones are not needed is therefore counted as
if the oldest were filled first: the k-th node has been idle since demand last needed k. That makes a ski rental of each
level, and the bound of :mod:`inferno_governator.policies.idle` holds for the sum (Lu, Chen and Andrew, "Simple and
Effective Dynamic Provisioning for Power-Proportional Data Centers", IEEE TPDS 24, 2013).
"""

from __future__ import annotations

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.fill import capacity, fills, grown, held, pools, spare, supply
from inferno_governator.policies.idle import break_even
from inferno_governator.policies.settings import CalmSettings, FillSettings


def propose(facts: FleetFacts, fill: FillSettings, settings: CalmSettings) -> list[Proposal]:
    """Nodes of ours that the highest demand of the break-even time did not need: of the dearest for their capacity the
    newest first."""
    known = pools(facts)
    taken: list[NodeFacts] = []
    found = []
    for seconds in sorted({break_even(pool, settings) for pool in facts.pools}, reverse=True):
        rates = held(facts, seconds)
        # The band is around what was measured; what growth may add only has to stay under its upper edge, where nodes
        # would be started again.
        demands = [(rates, fill.lower), (grown(facts, rates), fill.upper)]
        among = [
            node
            for node in supply(facts)
            if node.ours
            and node.pool in known
            and break_even(known[node.pool], settings) == seconds
            # What was started for another reason than demand is given as long to be needed.
            and (node.state is NodeState.SERVING or facts.at - node.since >= seconds)
        ]
        among.sort(
            key=lambda node: (node.state is not NodeState.STARTING, -_price(facts, node), -node.since, node.node)
        )
        for node in spare(facts, demands, [*taken, *among])[len(taken) :]:
            taken.append(node)
            rest = [each for each in supply(facts) if each not in taken and each.state is NodeState.SERVING]
            after = max((fills(facts, rest, rates)[m] for m in node.models if m in rates), default=0.0)
            sentence = (
                f"the highest demand of the last {seconds:.0f} s fills the other {len(rest)} nodes to {after:.0%}, not "
                f"more than {fill.lower:.0%}: {node.node} was not needed for as long as starting it again costs"
            )
            found.append(
                Proposal(
                    Verb.STOP, node.pool, Reason.UNDER_UTILISED, sentence, node=node.node,
                    evidence={"fill_without": after, "limit": fill.lower, "seconds": seconds, "nodes": len(rest)},
                    saves_micros_per_hour=node.micros_per_hour,
                )
            )  # fmt: skip
    return found


def _price(facts: FleetFacts, node: NodeFacts) -> float:
    """What a request a second costs on a node, for the model it serves worst."""
    each = [capacity(facts, node, model) for model in node.models]
    return max((node.micros_per_hour / one for one in each if one > 0), default=float(node.micros_per_hour))
