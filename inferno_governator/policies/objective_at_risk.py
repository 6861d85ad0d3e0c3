"""Starts nodes for an objective that is missed, or will be before a node that is started later serves.

Seen from the forecast of demand against measured capacity, and from what requests feel: latency, queues, a burning
error budget. Not from how busy a CPU or GPU is: a node that batches well is busy at a small part of what it can serve.
"""

from __future__ import annotations

from collections import Counter

from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, NodeState
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.fill import expected, fills, supply
from inferno_governator.policies.settings import FillSettings, RiskSettings
from inferno_governator.policies.starting import cheapest, room


def propose(facts: FleetFacts, fill: FillSettings, risk: RiskSettings) -> list[Proposal]:
    """As many starts as bring every model under the upper edge of the band, where that is what is wrong.

    What requests feel does not tell how many nodes would mend it: one is started, and the next look is taken when none
    is starting any more.
    """
    found: list[Proposal] = []
    more: list[NodeFacts] = []
    for model in facts.models:
        found += _for_demand(facts, model, fill, more)
    for model in facts.models:
        if any(node.state is NodeState.STARTING and model.model in node.models for node in [*supply(facts), *more]):
            continue
        sentence, evidence = felt(facts, model, risk)
        if sentence:
            found += _start(facts, model, sentence, evidence, more)
    return found


def _for_demand(facts: FleetFacts, model: ModelFacts, fill: FillSettings, more: list[NodeFacts]) -> list[Proposal]:
    found: list[Proposal] = []
    there = supply(facts)
    rates = expected(facts)
    now = before = fills(facts, [*there, *more], rates)[model.model]
    while now > fill.upper:
        count = sum(model.model in node.models for node in there)
        sentence = (
            f"{model.model} is expected at {rates[model.model]:.4g} requests/s, which fills its {count} nodes to "
            f"{before:.0%} of what they serve within the objective, more than {fill.upper:.0%}"
        )
        evidence = {"rate": model.rate, "forecast": model.forecast, "fill": before, "limit": fill.upper, "nodes": count}
        started = _start(facts, model, sentence, evidence, more)
        if not started:
            break
        found += started
        now, last = fills(facts, [*there, *more], rates)[model.model], now
        # A pool whose capacity is unknown mends nothing that can be told.
        if now >= last:
            break
    return found


def felt(facts: FleetFacts, model: ModelFacts, risk: RiskSettings) -> tuple[str, dict[str, float]]:
    """What requests feel that puts the objective at risk, and its figures; empty when nothing does."""
    serving = [node for node in supply(facts) if node.state is NodeState.SERVING and model.model in node.models]
    limit = risk.latency_share * model.objective
    evidence = {"latency": model.latency, "objective": model.objective, "queued": model.queued}
    if model.burning:
        return f"{model.model}: {model.burning.rstrip('.')}", evidence
    if model.objective > 0 and model.latency > limit:
        return (
            f"{model.model} takes {model.latency:.3g} s where {model.objective:.3g} s are promised, more than "
            f"{risk.latency_share:.0%} of it"
        ), evidence
    if serving and model.queued > risk.queued * len(serving):
        return (
            f"{model.queued:.0f} requests of {model.model} wait in {len(serving)} nodes, more than {risk.queued:g} each"
        ), evidence
    return "", evidence


def _start(
    facts: FleetFacts, model: ModelFacts, sentence: str, evidence: dict[str, float], more: list[NodeFacts]
) -> list[Proposal]:
    """One start where a request costs least; it is added to ``more``. Nothing where no pool has room."""
    taken = Counter(node.pool for node in more)
    full = {pool.pool for pool in facts.pools if taken[pool.pool] >= room(facts, pool)}
    pool = cheapest(facts, model.model, full)
    if pool is None:
        return []
    more.append(
        NodeFacts("", pool.pool, NodeState.STARTING, pool.models, facts.at, pool.micros_per_hour, ours=True)
    )  # fmt: skip
    return [
        Proposal(
            Verb.START, pool.pool, Reason.OBJECTIVE_AT_RISK, sentence,
            evidence=evidence, saves_micros_per_hour=-pool.micros_per_hour,
        )
    ]  # fmt: skip
