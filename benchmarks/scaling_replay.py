"""A replay of demand at the level of rates, minute by minute: what a policy pays for nodes, and how much it serves.

Policies are told the rate of the minute that has just ended. A node is paid for from the call that starts it, serves a
boot time later, and is paid for no more when it is stopped (it drains within the minute). What nodes cannot serve in a
minute is lost, never queued. Cost is in minutes of a node. How busy nodes are is told beyond 1 where demand is beyond
what they serve, so that rules on utilisation are told as much as rules on rates.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferno_governator.decisions.fleet import FleetFacts, ModelFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.proposal import Proposal, Verb

# Minutes of a stretch, in which the rate does not change.
STRETCH = 10
_PRICE = 1_000_000
_AGES = {"telemetry": 30.0, "prices": 60.0, "providers": 30.0}


@dataclass(frozen=True, slots=True)
class World:
    """What is replayed: rates of each stretch of ten minutes, what a node serves a second, minutes that it boots."""

    rates: Sequence[float]
    capacity: float
    boot: int

    def rate(self, minute: int) -> float:
        """Requests a second in a minute."""
        return self.rates[minute // STRETCH]

    @property
    def minutes(self) -> int:
        """How long it lasts."""
        return len(self.rates) * STRETCH


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, from a minute on."""

    cost: float
    served: float
    starts: int
    stops: int
    days: float


Policy = Callable[[FleetFacts], Iterable[Proposal]]


def replay(world: World, policy: Policy, judged: int = 0, until: int | None = None) -> Outcome:
    """Run a policy through it; minutes before ``judged`` teach it and count for nothing.

    It begins with the nodes that the first minute needs. A policy is given the fleet at the beginning of each minute.
    """
    boot = world.boot * 60.0
    pool = PoolFacts("gpu", "replay", ("m",), _PRICE, boot, maximum=100_000, capacity={"m": world.capacity})
    first = max(1, math.ceil(world.rate(0) / world.capacity))
    nodes = [_node(number, -boot, NodeState.SERVING) for number in range(first)]
    made, starts, stops = first, 0, 0
    cost = asked = served = 0.0
    recent: deque[tuple[float, float]] = deque(maxlen=world.boot + 2)
    last = world.minutes if until is None else until
    for minute in range(last):
        at = minute * 60.0
        rate = world.rate(max(0, minute - 1))
        recent.append((at, rate))
        serving = sum(at - node.since >= boot or node.state is NodeState.SERVING for node in nodes)
        busy = rate / (serving * world.capacity) if serving else 0.0
        nodes = [
            replace(node, state=NodeState.SERVING, busy=busy)
            if node.state is NodeState.SERVING or at - node.since >= boot
            else node
            for node in nodes
        ]
        model = ModelFacts("m", rate, rate, recent=tuple(recent))
        for each in policy(FleetFacts(at, tuple(nodes), (model,), (pool,), _AGES)):
            if each.verb is Verb.START:
                nodes.append(_node(made, at, NodeState.STARTING))
                made += 1
                starts += minute >= judged
            else:
                nodes = [node for node in nodes if node.node != each.node]
                stops += minute >= judged
        if minute >= judged:
            serving = sum(node.state is NodeState.SERVING for node in nodes)
            cost += len(nodes)
            asked += world.rate(minute)
            served += min(world.rate(minute), serving * world.capacity)
    return Outcome(cost, served / asked, starts, stops, (last - judged) / 1440)


def _node(number: int, since: float, state: NodeState) -> NodeFacts:
    return NodeFacts(f"n{number:06}", "gpu", state, ("m",), since, _PRICE, ours=True)


def clairvoyant(world: World, judged: int, lost: float = 0.0) -> float:
    """The least that nodes can cost from a minute on for somebody who knows all demand: exact, by dynamic programming.

    A start costs the boot time, as for everybody, and is called in time. What the first minute needs is there.
    With ``lost``, that share of requests may be left unserved; the figure is then a lower bound (the Lagrangian dual,
    whose price of a lost request is found by bisection), which no policy that serves as much can pay less than.
    """
    rates = np.asarray(world.rates[judged // STRETCH :])
    if not lost:
        return _least(world, rates, math.inf)[0]
    low, high = 0.0, 1000.0 / world.capacity
    best = 0.0
    for _ in range(40):
        price = (low + high) / 2
        total, unserved = _least(world, rates, price)
        best = max(best, total - price * lost * float(rates.sum()) * STRETCH)
        low, high = (price, high) if unserved > lost * float(rates.sum()) * STRETCH else (low, price)
    return best


def _least(world: World, rates: NDArray[np.float64], price: float) -> tuple[float, float]:
    """The least cost with a price on each request a second that is lost for a minute, and how much is lost then."""
    most = math.ceil(float(rates.max()) / world.capacity) + 1
    counts = np.arange(most + 1)
    first = max(1, math.ceil(rates[0] / world.capacity))
    starts = world.boot * np.maximum(0, counts[None, :] - counts[:, None])
    unserved = np.maximum(0.0, rates[:, None] - counts[None, :] * world.capacity) * STRETCH
    unserved[unserved < 1e-6] = 0.0
    with np.errstate(invalid="ignore"):
        stage = counts * STRETCH + np.where(unserved > 0, price * unserved, 0.0)
    best = np.where(counts == first, 0.0, np.inf)
    came = np.zeros((len(rates), most + 1), dtype=int)
    for step in range(len(rates)):
        moves = best[:, None] + starts
        came[step] = moves.argmin(axis=0)
        best = moves.min(axis=0) + stage[step]
    at = int(best.argmin())
    total, lost = float(best[at]), 0.0
    for step in range(len(rates) - 1, -1, -1):
        lost += float(unserved[step, at])
        at = int(came[step, at])
    return total, lost
