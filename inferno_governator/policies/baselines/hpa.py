"""The rule of Kubernetes' HorizontalPodAutoscaler on utilisation, with its tolerance and its stabilisation window."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inferno_governator.decisions.fleet import FleetFacts, NodeState
from inferno_governator.decisions.proposal import Proposal
from inferno_governator.policies.baselines.sizing import nodes_of, towards


class HorizontalAutoscaler:
    """``desired = ceil(nodes x utilisation / target)`` for the first pool.

    Nodes that do not serve yet count as idle, so that a fleet that starts does not ask for more again. Within the
    tolerance nothing is done. A fleet shrinks to the highest wish of the stabilisation window only (kubernetes.io,
    "Horizontal Pod Autoscaling": tolerance 10 %, window 300 s).

    Args:
        target: Utilisation to keep, 0 to 1.
    """

    def __init__(self, target: float, tolerance: float = 0.1, window_seconds: float = 300.0) -> None:
        self._target, self._tolerance, self._window = target, tolerance, window_seconds
        self._wishes: list[tuple[float, int]] = []

    def __call__(self, facts: FleetFacts) -> Sequence[Proposal]:
        """Starts or stops to reach what is desired."""
        pool = facts.pools[0]
        nodes = nodes_of(facts, pool.pool)
        serving = [node for node in nodes if node.state is NodeState.SERVING]
        if not serving:
            return towards(facts, pool, max(1, len(nodes)), "Nothing serves.")
        ratio = sum(node.busy for node in serving) / len(serving) / self._target
        desired = len(nodes)
        if abs(ratio - 1) > self._tolerance:
            # With nodes that are not ready the ratio is taken again, and never turns from growing to shrinking.
            whole = sum(node.busy for node in serving) / len(nodes) / self._target
            if ratio > 1:
                desired = max(len(nodes), math.ceil(whole * len(nodes)) if whole > 1 + self._tolerance else 0)
            else:
                desired = max(1, math.ceil(ratio * len(serving)))
        self._wishes = [each for each in self._wishes if each[0] > facts.at - self._window]
        self._wishes.append((facts.at, desired))
        if desired < len(nodes):
            desired = min(len(nodes), max(wish for _, wish in self._wishes))
        return towards(facts, pool, desired, f"Utilisation is {ratio:.2f} of its target.")
