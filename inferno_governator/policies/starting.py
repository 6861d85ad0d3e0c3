"""In which pool a node is started."""

from __future__ import annotations

from collections.abc import Collection

from inferno_governator.decisions.fleet import FleetFacts, NodeState, PoolFacts

_GOING = (NodeState.LOST, NodeState.SICK)


def room(facts: FleetFacts, pool: PoolFacts) -> int:
    """How many nodes a pool may still get. What goes anyway takes no room, so that its successor may come first: a node
    that is lost, sick or taken back. One that drains still does."""
    there = sum(
        node.pool == pool.pool and node.state not in _GOING and node.notice_at is None for node in facts.nodes
    )  # fmt: skip
    return max(0, pool.maximum - there)


def cheapest(facts: FleetFacts, model: str, full: Collection[str] = (), avoid: str = "") -> PoolFacts | None:
    """The pool with room in which a request of a model costs least; ``full`` names pools that are left out.

    Pools whose capacity nobody has measured come last, and a zone to avoid is taken only when there is no other.
    """
    open_ = [pool for pool in facts.pools if model in pool.models and pool.pool not in full and room(facts, pool)]

    def price(pool: PoolFacts) -> tuple[bool, bool, float, str]:
        capacity = pool.capacity.get(model, 0.0)
        dear = pool.micros_per_hour / capacity if capacity else float(pool.micros_per_hour)
        return bool(avoid) and pool.zone == avoid, not capacity, dear, pool.pool

    return min(open_, key=price, default=None)
