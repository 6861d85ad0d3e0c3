"""Whether an intent is still to be carried out, by facts that are newer than those it was decided from. Pure."""

from __future__ import annotations

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Reason, Verb

_THERE = frozenset({NodeState.STARTING, NodeState.SERVING})
# What goes away whatever becomes of the objective: it serves nothing, or will not for long.
_GOES_ANYWAY = frozenset({Reason.SICK_NODE, Reason.SPOT_NOTICE})


def invalid(intent: Intent, facts: FleetFacts) -> str:
    """Why it is not to be done any more; empty while it is."""
    pool = next((each for each in facts.pools if each.pool == intent.pool), None)
    if pool is None:
        return f"There is no pool {intent.pool} any more."
    nodes = {each.node: each for each in facts.nodes}
    return _start(intent, pool, nodes) if intent.verb is Verb.START else _stop(intent, pool, nodes, facts)


def _start(intent: Intent, pool: PoolFacts, nodes: dict[str, NodeFacts]) -> str:
    others = [each for each in nodes.values() if each.pool == pool.pool and each.node != intent.node]
    there = sum(each.state in _THERE and each.node != intent.instead_of for each in others)
    if there >= pool.maximum:
        return f"Pool {pool.pool} has {there} nodes, as many as it may."
    replaced = nodes.get(intent.instead_of)
    if intent.reason is Reason.SICK_NODE and replaced is not None and replaced.state is NodeState.SERVING:
        return f"{replaced.node} serves again."
    if pool.unpriced and intent.reason is Reason.CHEAPER_MIX:
        return pool.unpriced
    return ""


def _stop(intent: Intent, pool: PoolFacts, nodes: dict[str, NodeFacts], facts: FleetFacts) -> str:
    node = nodes.get(intent.node)
    if node is None:
        return f"Nobody knows of {intent.node} any more."
    if not node.ours or node.pool != pool.pool:
        return f"{node.node} is not a node of pool {pool.pool} that was started by this governator."
    if intent.reason in _GOES_ANYWAY or node.state in (NodeState.LOST, NodeState.SICK):
        return _recovered(intent, node)
    others = [each for each in nodes.values() if each.node != node.node and each.state is NodeState.SERVING]
    left = sum(each.pool == pool.pool for each in others)
    if left < pool.minimum:
        return f"Pool {pool.pool} would have {left} nodes, and must have {pool.minimum}."
    for model in facts.models:
        if model.model not in node.models:
            continue
        serving = sum(model.model in each.models for each in others)
        if serving < model.minimum:
            return f"Model {model.model} would have {serving} nodes, and must have {model.minimum}."
        if model.burning and intent.reason is not Reason.BUDGET:
            return model.burning
    return ""


def _recovered(intent: Intent, node: NodeFacts) -> str:
    well = node.state is NodeState.SERVING and not node.why and node.notice_at is None
    return f"{node.node} serves again." if well and intent.reason in _GOES_ANYWAY else ""
