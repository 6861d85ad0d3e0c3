"""Ways to serve a demand from spot and on-demand machines of several zones, for ``benchmarks.spot``.

All of them size the fleet alike: the highest rate of the last hour, with a margin. They differ in where the nodes are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.simulation.outages import Outage
from inferno_governator.simulation.trace import RateTrace

_UP = (NodeState.STARTING, NodeState.SERVING)
_HOLD_SECONDS = 3600.0


@dataclass
class Sized:
    """Nodes that the highest rate of the last hour needs, with a margin; children say in which pools.

    Attributes:
        margin: What is planned for beyond that rate, as a factor.
    """

    margin: float
    _rates: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, facts: FleetFacts) -> Sequence[Proposal]:
        """Starts what is missing in each pool; stops what is too much once the others serve."""
        target = self.target(facts)
        wanted = self.wanted(facts, target)
        proposals: list[Proposal] = []
        for pool in facts.pools:
            there = [node for node in up(facts) if node.pool == pool.pool]
            missing = min(wanted.get(pool.pool, 0), pool.maximum) - len(there)
            proposals += [Proposal(Verb.START, pool.pool, Reason.OBJECTIVE_AT_RISK, "")] * max(0, missing)
        serving = sum(node.state is NodeState.SERVING for node in up(facts))
        for pool in facts.pools:
            there = [node for node in up(facts) if node.pool == pool.pool]
            surplus = len(there) - wanted.get(pool.pool, 0)
            for node in sorted(there, key=lambda each: (each.state is NodeState.SERVING, -each.since))[
                : max(0, surplus)
            ]:
                if node.state is NodeState.SERVING:
                    if serving <= target:
                        break
                    serving -= 1
                proposals.append(Proposal(Verb.STOP, pool.pool, Reason.UNDER_UTILISED, "", node=node.node))
        return proposals

    def target(self, facts: FleetFacts) -> int:
        """Nodes that are needed."""
        self._rates = [each for each in self._rates if each[0] > facts.at - _HOLD_SECONDS]
        self._rates.append((facts.at, facts.models[0].rate))
        return need(max(rate for _, rate in self._rates) * self.margin, facts)

    def wanted(self, facts: FleetFacts, target: int) -> Mapping[str, int]:
        """Nodes by pool."""
        raise NotImplementedError


class OnDemandOnly(Sized):
    """All on demand."""

    def wanted(self, facts: FleetFacts, target: int) -> Mapping[str, int]:
        """All in the pool on demand."""
        return {on_demand(facts).pool: target}


class OneZoneSpot(Sized):
    """All spot, in one zone."""

    def wanted(self, facts: FleetFacts, target: int) -> Mapping[str, int]:
        """All in the first pool of spot machines."""
        return {spot(facts)[0].pool: target}


class SpreadSpot(Sized):
    """All spot, spread over the zones that have machines."""

    def wanted(self, facts: FleetFacts, target: int) -> Mapping[str, int]:
        """Evenly."""
        return spread(facts, target)


@dataclass
class SpotHedge(Sized):
    """Spot with a dynamic fallback, as SkyServe's SpotHedge has it (arXiv 2411.01438): some more spot nodes than are
    needed, spread over zones, and one on demand in the place of each that does not serve.

    Attributes:
        more: Spot nodes beyond what is needed.
    """

    more: int = 1

    def wanted(self, facts: FleetFacts, target: int) -> Mapping[str, int]:
        """Spot spread, on demand what does not serve of it."""
        ready = sum(node.spot and node.state is NodeState.SERVING for node in up(facts))
        missing = max(0, target + self.more - ready)
        return {**spread(facts, target + self.more), on_demand(facts).pool: min(target, missing)}


@dataclass
class ZoneSafe(Sized):
    """Ours: spread so that the loss of any one zone leaves what the rate needs without margin, above a floor on demand.

    A node with a notice counts as gone already, so that its successor starts at the notice. A zone that took nodes or
    had none is left alone for a while, twice as long for each time within a day, and none holds more than half of what
    is needed. On demand takes what is then missing, and gives it back only to spot nodes that serve.

    Attributes:
        floor: Share of the nodes that is always on demand.
        wary_seconds: How long a zone is left alone after its first failure in a day.
    """

    floor: float = 0.1
    wary_seconds: float = 1800.0
    # By pool: when its failures of the last day were, the newest last, and until when it is left alone.
    _failed: dict[str, list[float]] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def wanted(self, facts: FleetFacts, target: int) -> Mapping[str, int]:
        """Floor, spread, and what is missing of it."""
        zones = self._trusted(facts)
        floor, raw = math.ceil(self.floor * target), math.ceil(target / self.margin)
        count = max(target - floor, math.ceil((raw - floor) * len(zones) / (len(zones) - 1)) if len(zones) > 1 else 0)
        shares = {name: held for name, held in _held(facts).items() if name not in zones}
        for place, name in enumerate(zones):
            shares[name] = min(count // len(zones) + (place < count % len(zones)), math.ceil(raw / 2))
        present = sum(not node.spot for node in up(facts))
        serving = sum(node.spot and node.state is NodeState.SERVING for node in up(facts))
        low = max(floor, target - sum(shares.values()))
        high = max(low, target - serving)
        return {**shares, on_demand(facts).pool: min(max(present, low), high)}

    def _trusted(self, facts: FleetFacts) -> list[str]:
        """Pools of zones in which nothing failed lately."""
        held = _held(facts)
        for pool in spot(facts):
            taken = any(node.pool == pool.pool and node.notice_at is not None for node in facts.nodes)
            if (taken or pool.maximum <= held[pool.pool]) and facts.at >= self._until.get(pool.pool, -math.inf):
                lately = [at for at in self._failed.get(pool.pool, ()) if at > facts.at - 86_400]
                self._failed[pool.pool] = [*lately, facts.at]
                self._until[pool.pool] = facts.at + self.wary_seconds * 2 ** len(lately)
        return [pool.pool for pool in spot(facts) if facts.at >= self._until.get(pool.pool, -math.inf)]


@dataclass
class Clairvoyant(Sized):
    """Knows demand and outages: nodes are where they will live, and started a boot ahead."""

    trace: RateTrace | None = None
    outages: tuple[Outage, ...] = ()
    boot: float = 600.0

    def target(self, facts: FleetFacts) -> int:
        """What the next boot and the one after need."""
        assert self.trace is not None
        ahead = [self.trace.rate(facts.at + step) for step in range(0, int(2 * self.boot) + 1, 300)]
        return need(max(ahead) * self.margin, facts)

    def wanted(self, facts: FleetFacts, target: int) -> Mapping[str, int]:
        """Spread over the zones that stay up for long enough; on demand without one."""
        lives = [each for each in spot(facts) if self._lives(each.zone, facts.at)]
        shares = {each.pool: target // len(lives) for each in lives}
        for each in lives[: target % len(lives)] if lives else []:
            shares[each.pool] += 1
        return {**shares, on_demand(facts).pool: 0 if lives else target}

    def _lives(self, zone: str, at: float) -> bool:
        end = at + 2 * self.boot
        return not any(each.zone == zone and each.begin < end and each.end > at for each in self.outages)


def need(rate: float, facts: FleetFacts) -> int:
    """Nodes for a rate."""
    return max(1, math.ceil(rate / facts.pools[0].capacity["model"]))


def up(facts: FleetFacts) -> list[NodeFacts]:
    """Nodes that serve or will, and are not about to be taken."""
    return [node for node in facts.nodes if node.state in _UP and node.notice_at is None]


def spot(facts: FleetFacts) -> list[PoolFacts]:
    """Pools of spot machines."""
    return [pool for pool in facts.pools if pool.spot]


def on_demand(facts: FleetFacts) -> PoolFacts:
    """The pool on demand."""
    return next(pool for pool in facts.pools if not pool.spot)


def _held(facts: FleetFacts) -> dict[str, int]:
    """Nodes by pool of spot machines."""
    return {pool.pool: sum(node.pool == pool.pool for node in up(facts)) for pool in spot(facts)}


def spread(facts: FleetFacts, count: int) -> dict[str, int]:
    """Nodes over the zones that have not just refused, as evenly as it goes; a zone that refused keeps what it has."""
    zones = spot(facts)
    held = _held(facts)
    refused = {pool.pool for pool in zones if pool.maximum <= held[pool.pool]}
    open_ = [pool.pool for pool in zones if pool.pool not in refused]
    shares = {pool: min(held[pool], -(-count // len(zones))) for pool in refused}
    left = max(0, count - sum(shares.values()))
    for place, pool in enumerate(open_):
        shares[pool] = left // len(open_) + (place < left % len(open_))
    return shares
