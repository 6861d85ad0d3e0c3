"""SkyServe's rule on requests a second: a fixed number a node, and delays in both directions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inferno_governator.decisions.fleet import FleetFacts
from inferno_governator.decisions.proposal import Proposal
from inferno_governator.policies.baselines.sizing import nodes_of, towards


class RequestRateAutoscaler:
    """``desired = ceil(rate / target)`` for the first pool, once it has been wanted for a whole delay.

    One decision that wants nothing begins the delay anew (sky/serve/autoscalers.py: up 300 s, down 1,200 s).

    Args:
        target: Requests a second for each node.
    """

    def __init__(self, target: float, up_seconds: float = 300.0, down_seconds: float = 1200.0) -> None:
        self._target, self._up, self._down = target, up_seconds, down_seconds
        self._above: float | None = None
        self._below: float | None = None

    def __call__(self, facts: FleetFacts) -> Sequence[Proposal]:
        """Starts or stops to reach what is desired."""
        pool = facts.pools[0]
        rate = sum(model.rate for model in facts.models)
        desired = max(1, pool.minimum, math.ceil(rate / self._target))
        present = len(nodes_of(facts, pool.pool))
        self._above = (self._above if self._above is not None else facts.at) if desired > present else None
        self._below = (self._below if self._below is not None else facts.at) if desired < present else None
        grown = self._above is not None and facts.at - self._above >= self._up
        shrunk = self._below is not None and facts.at - self._below >= self._down
        if not grown and not shrunk and present:
            return []
        self._above = self._below = None
        return towards(facts, pool, desired, f"{rate:.2f} requests a second at {self._target:g} a node.")
