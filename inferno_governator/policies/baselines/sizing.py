"""From a number of nodes to proposals: what the baselines share, which only ever choose a number."""

from __future__ import annotations

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.proposal import Proposal, Reason, Verb

_PRESENT = (NodeState.STARTING, NodeState.SERVING)


def nodes_of(facts: FleetFacts, pool: str) -> list[NodeFacts]:
    """Nodes of a pool that serve or will."""
    return [node for node in facts.nodes if node.pool == pool and node.state in _PRESENT]


def towards(facts: FleetFacts, pool: PoolFacts, wanted: int, sentence: str) -> list[Proposal]:
    """Starts or stops that bring a pool to a number of nodes within its bounds.

    What still starts is stopped first, the newest before the others, and then what has the fewest requests.
    """
    nodes = nodes_of(facts, pool.pool)
    wanted = max(pool.minimum, min(wanted, pool.maximum))
    if wanted > len(nodes):
        start = Proposal(Verb.START, pool.pool, Reason.OBJECTIVE_AT_RISK, sentence)
        return [start] * (wanted - len(nodes))
    spare = sorted(nodes, key=lambda node: (node.state is NodeState.SERVING, node.running, -node.since, node.node))
    return [
        Proposal(Verb.STOP, pool.pool, Reason.UNDER_UTILISED, sentence, node=node.node)
        for node in spare[: len(nodes) - wanted]
    ]
