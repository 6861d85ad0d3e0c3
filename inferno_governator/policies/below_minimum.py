"""Starts nodes that a pool or a model must have whatever happens."""

from __future__ import annotations

from collections import Counter

from inferno_governator.decisions.fleet import FleetFacts, PoolFacts
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.fill import supply
from inferno_governator.policies.starting import cheapest, room


def propose(facts: FleetFacts) -> list[Proposal]:
    """As many starts as are missing, of pools first; what a pool gets counts for its models."""
    nodes = supply(facts)
    found: list[Proposal] = []
    started: Counter[str] = Counter()
    for pool in facts.pools:
        there = sum(node.pool == pool.pool for node in nodes)
        sentence = f"pool {pool.pool} has {there} nodes that serve or start, and must have {pool.minimum}"
        for _ in range(min(pool.minimum - there, room(facts, pool))):
            found.append(_start(pool, sentence, there, pool.minimum))
            started[pool.pool] += 1
    for model in facts.models:
        if not any(model.model in pool.models for pool in facts.pools):
            continue
        there = sum(model.model in node.models for node in nodes)
        there += sum(count for name, count in started.items() if _serves(facts, name, model.model))
        sentence = f"model {model.model} has {there} nodes that serve or start, and must have {model.minimum}"
        for _ in range(model.minimum - there):
            full = {pool.pool for pool in facts.pools if started[pool.pool] >= room(facts, pool)}
            chosen = cheapest(facts, model.model, full)
            if chosen is None:
                break
            found.append(_start(chosen, sentence, there, model.minimum))
            started[chosen.pool] += 1
    return found


def _serves(facts: FleetFacts, name: str, model: str) -> bool:
    return any(pool.pool == name and model in pool.models for pool in facts.pools)


def _start(pool: PoolFacts, sentence: str, there: int, minimum: int) -> Proposal:
    return Proposal(
        Verb.START, pool.pool, Reason.BELOW_MINIMUM, sentence,
        evidence={"nodes": there, "minimum": minimum}, saves_micros_per_hour=-pool.micros_per_hour,
    )  # fmt: skip
