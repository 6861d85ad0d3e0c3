"""Stops nodes that have had nothing to do for as long as starting them again costs."""

from __future__ import annotations

from inferno_governator.decisions.fleet import FleetFacts, NodeState, PoolFacts
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.policies.fill import expected, pools, spare
from inferno_governator.policies.settings import CalmSettings, FillSettings


def break_even(pool: PoolFacts, settings: CalmSettings) -> float:
    """Seconds of idleness that cost as much as a start: the node is paid for while it starts.

    Stopping exactly then costs at most twice what anybody pays who knows when the next request comes (ski rental:
    Karlin, Manasse, Rudolph and Sleator, Algorithmica 3, 1988), and nothing that is decided without chance does better.
    """
    return max(pool.boot_seconds, settings.least_seconds)


def propose(facts: FleetFacts, fill: FillSettings, settings: CalmSettings) -> list[Proposal]:
    """Nodes of ours without a request for the break-even time, the longest idle first, if the others carry demand."""
    known = pools(facts)
    idle = [
        (facts.at - node.idle_since, node)
        for node in facts.nodes
        if node.idle_since is not None
        and node.running == 0
        and node.ours
        and node.state is NodeState.SERVING
        and node.notice_at is None
        and node.pool in known
        and facts.at - max(node.idle_since, node.since) >= break_even(known[node.pool], settings)
    ]
    idle.sort(key=lambda each: (-each[0], each[1].node))
    seconds = {node.node: since for since, node in idle}
    found = []
    for node in spare(facts, [(expected(facts), fill.lower)], [node for _, node in idle]):
        limit = break_even(known[node.pool], settings)
        sentence = (
            f"{node.node} has had no request for {seconds[node.node]:.0f} s, and starting it again costs "
            f"{limit:.0f} s of its time"
        )
        found.append(
            Proposal(
                Verb.STOP, node.pool, Reason.IDLE, sentence, node=node.node,
                evidence={"idle_seconds": seconds[node.node], "break_even_seconds": limit},
                saves_micros_per_hour=node.micros_per_hour,
            )
        )  # fmt: skip
    return found
