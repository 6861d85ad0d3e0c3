"""How full nodes are under some demand, in shares of the capacity at which the objective still holds.

Requests are shared out by capacity, so all nodes of a model are filled alike by it, and a node is filled by the sum
over its models. Where nobody has measured a model's capacity, the share of time in which its nodes are busy stands in.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, NodeState, PoolFacts

_COUNTED = (NodeState.STARTING, NodeState.SERVING)


def supply(facts: FleetFacts, without: Collection[str] = ()) -> list[NodeFacts]:
    """Nodes that serve, or will, and that nobody takes back; ``without`` names some that are left out."""
    return [
        node
        for node in facts.nodes
        if node.state in _COUNTED and node.notice_at is None and node.node not in without
    ]  # fmt: skip


def pools(facts: FleetFacts) -> dict[str, PoolFacts]:
    """Pools by their names."""
    return {pool.pool: pool for pool in facts.pools}


def expected(facts: FleetFacts) -> dict[str, float]:
    """The rate that nodes must carry, by model: what is measured, or what is forecast where that is more."""
    return {model.model: max(model.rate, model.forecast) for model in facts.models}


def held(facts: FleetFacts, seconds: float) -> dict[str, float]:
    """The highest rate within a time that has just ended, by model; infinite where it is not known."""
    found = {}
    for model in facts.models:
        since = facts.at - seconds
        known = bool(model.recent) and model.recent[0][0] <= since
        # A rate that ends at the window's start lies before it.
        within = [rate for ended, rate in model.recent if ended > since]
        found[model.model] = max(model.rate, *within, 0.0) if known else math.inf
    return found


def grown(facts: FleetFacts, rates: Mapping[str, float]) -> dict[str, float]:
    """Rates that grow as the forecast does from what is measured now."""
    return {
        model.model: max(
            model.forecast, rates[model.model] * max(1.0, model.forecast / model.rate if model.rate else 1.0)
        )
        for model in facts.models
    }


def capacity(facts: FleetFacts, node: NodeFacts, model: str) -> float:
    """Requests a second that a node serves of a model; of a node in no pool, what the weakest pool's nodes do."""
    known = pools(facts)
    if node.pool in known:
        return known[node.pool].capacity.get(model, 0.0)
    return min((pool.capacity[model] for pool in facts.pools if model in pool.capacity), default=0.0)


def fills(facts: FleetFacts, nodes: Iterable[NodeFacts], rates: Mapping[str, float]) -> dict[str, float]:
    """The fill of each model's fullest node, if these nodes had to carry these rates; infinite where none is left."""
    left = list(nodes)
    pressure = {model.model: _pressure(facts, left, model, rates.get(model.model, 0.0)) for model in facts.models}
    found = {}
    for name, own in pressure.items():
        on = [sum(pressure.get(model, 0.0) for model in node.models) for node in left if name in node.models]
        found[name] = max(on, default=own)
    return found


def _pressure(facts: FleetFacts, left: Iterable[NodeFacts], model: ModelFacts, rate: float) -> float:
    """What one model adds to the fill of each of its nodes."""
    on = [node for node in left if model.model in node.models]
    if rate <= 0:
        return 0.0
    if any(model.model in pool.capacity for pool in facts.pools):
        served = sum(capacity(facts, node, model.model) for node in on)
        return rate / served if served > 0 else math.inf
    busy = sum(node.busy for node in facts.nodes if model.model in node.models and node.state is NodeState.SERVING)
    # Busy time is shared with the node's other models; each is given all of it, which keeps more nodes, never fewer.
    growth = rate / model.rate if model.rate > 0 else 1.0
    return growth * busy / len(on) if on else math.inf


def spare(
    facts: FleetFacts, demands: Iterable[tuple[Mapping[str, float], float]], among: Iterable[NodeFacts]
) -> list[NodeFacts]:
    """Nodes, taken in this order, without which the others still carry each demand filled to at most its limit.

    No pool and no model is left with fewer nodes than its minimum, and none that still starts counts as carrying.
    """
    left = [node for node in supply(facts) if node.state is NodeState.SERVING]
    asked = list(demands)
    gone: list[NodeFacts] = []
    for node in among:
        rest = [each for each in left if each.node != node.node]
        if _minimums(facts, node, rest) and all(fits(facts, node.models, rest, *demand) for demand in asked):
            gone.append(node)
            left = rest
    return gone


def fits(
    facts: FleetFacts, models: Collection[str], nodes: Iterable[NodeFacts], rates: Mapping[str, float], limit: float
) -> bool:
    """True when these nodes carry these rates of some models, filled to at most ``limit``."""
    found = fills(facts, nodes, rates)
    return all(found.get(model, 0.0) <= limit for model in models)


def _minimums(facts: FleetFacts, node: NodeFacts, rest: Collection[NodeFacts]) -> bool:
    pool = pools(facts).get(node.pool)
    if pool is None or sum(each.pool == node.pool for each in rest) < pool.minimum:
        return False
    least = {model.model: model.minimum for model in facts.models}
    return all(sum(model in each.models for each in rest) >= least.get(model, 0) for model in node.models)
