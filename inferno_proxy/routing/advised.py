"""A route plan with loop 2's advice laid over it, and the orders of operators over both.

Advice changes far more often than the fleet and names few models, so the plan itself is kept: planning 10,000 nodes
takes a third of a second, laying advice over it some milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from inferno_proxy.feedback.advice import FULL_WEIGHT, Advice
from inferno_proxy.fleet import FleetView
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan, RoutingSettings, plan
from inferno_proxy.routing.steering import FREE, Steering, weighed, withheld


class Planner:
    """Plans for a fleet, its settings, what was learned and what was ordered; remembers the plan without advice."""

    def __init__(self) -> None:
        self._view = FleetView()
        self._settings = RoutingSettings()
        self._plan = RoutePlan()
        self._steering = FREE
        self._withheld = RoutePlan()

    def __call__(
        self, view: FleetView, settings: RoutingSettings, advice: Advice, steering: Steering = FREE
    ) -> RoutePlan:
        """Decide where calls for each model go (see :func:`inferno_proxy.routing.plan`), as advised and ordered."""
        same = view is self._view and settings is self._settings
        if not same:
            self._plan = plan(view, settings)
            self._view, self._settings = view, settings
        if not same or steering is not self._steering:
            self._withheld = withheld(self._plan, view, steering)
            self._steering = steering
        return weighed(advised(self._withheld, advice), view, steering)


def advised(planned: RoutePlan, advice: Advice) -> RoutePlan:
    """Lay advice over a plan. What the operator chose wins over what was learned."""
    named = {model for model, _ in (*advice.weights, *advice.stuck)} | advice.hedge_after.keys()
    named |= advice.hopeless | advice.limits.keys() | advice.quarantined.keys() | advice.watched
    changed = {name: _route(planned.models[name], advice) for name in named & planned.models.keys()}
    if not changed:
        return planned
    return replace(planned, models=MappingProxyType({**planned.models, **changed}))


def _route(route: ModelRoute, advice: Advice) -> ModelRoute:
    if not route.traffic.learn:
        # Nodes that are stuck and retries that help nobody are faults, not figures.
        advice = replace(advice, weights={}, hedge_after={}, limits={})
    return replace(
        route,
        hedge_after=route.traffic.hedge_after or advice.hedge_after.get(route.name, 0.0),
        hopeless=route.name in advice.hopeless,
        limit=advice.limits.get(route.name, 0),
        quarantined=advice.quarantined.get(route.name, frozenset()),
        watched=route.name in advice.watched or route.name in advice.quarantined,
        grpc=_endpoints(route, route.grpc, advice),
        http=_endpoints(route, route.http, advice),
    )


def _endpoints(route: ModelRoute, endpoints: tuple[Endpoint, ...], advice: Advice) -> tuple[Endpoint, ...]:
    """The endpoints with their weights, without those that are stuck, unless nothing would be left that takes work.

    Keys stay where they are: another weight would move them to other nodes, and with them sequences and sessions.
    """
    moving = [e for e in endpoints if (route.name, e.node) not in advice.stuck]
    kept = moving if any(not e.draining for e in moving) else endpoints
    if not route.keyed:
        kept = [_weighed(e, advice.weights.get((route.name, e.node), FULL_WEIGHT)) for e in kept]
    return tuple(sorted(_without_gaps(kept)))


def _weighed(endpoint: Endpoint, weight: int) -> Endpoint:
    return endpoint if endpoint.weight == weight else replace(endpoint, weight=weight)


def _without_gaps(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """The same with priorities 0, 1, ...: data planes refuse a gap."""
    listed = list(endpoints)
    rank = {priority: number for number, priority in enumerate(sorted({e.priority for e in listed}))}
    return [e if rank[e.priority] == e.priority else replace(e, priority=rank[e.priority]) for e in listed]
