"""A route plan with loop 2's advice laid over it, and the orders of operators over both.

Advice changes far more often than the fleet and names few models, and the fleet changes by one node at a time: what
neither touches is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import FleetView
from inferno_proxy.routing.ledger import Ledger
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan, RoutingSettings, without_gaps
from inferno_proxy.routing.steering import FREE, Steering, capped, steered, weighed, withheld


class Planner:
    """Plans for a fleet, its settings, what was learned and what was ordered; what a change in any of them does not
    touch stays the same object."""

    def __init__(self) -> None:
        self._settings = RoutingSettings()
        self._ledger = Ledger(self._settings)
        self._advice = Advice()
        self._by_model: Mapping[str, ModelAdvice] = {}
        self._laid: Mapping[str, _Laid] = {}

    def __call__(
        self, view: FleetView, settings: RoutingSettings, advice: Advice, steering: Steering = FREE
    ) -> RoutePlan:
        """Decide where calls for each model go (see :func:`inferno_proxy.routing.plan`), as advised and ordered."""
        if settings is not self._settings:
            self._settings, self._ledger = settings, Ledger(settings)
        if advice is not self._advice:
            self._advice, self._by_model = advice, by_model(advice)
        planned = self._ledger.follow(view)
        named = (self._by_model.keys() | steered(view, steering)) & planned.models.keys()
        laid = {name: self._lay(planned.models[name], view, steering) for name in named}
        self._laid = laid
        if not laid:
            return planned
        made = {name: each.made for name, each in laid.items()}
        return replace(planned, models=MappingProxyType({**planned.models, **made}))

    def _lay(self, route: ModelRoute, view: FleetView, steering: Steering) -> _Laid:
        own, before = self._by_model.get(route.name), self._laid.get(route.name)
        if before is not None and before.route is route and before.advice == own and before.steering is steering:
            return before
        alone = withheld(RoutePlan(MappingProxyType({route.name: route})), view, steering)
        learned = _overlaid(alone, {route.name: own} if own else {})
        made = capped(weighed(learned, view, steering), steering)
        return _Laid(route, own, steering, made.models[route.name])


@dataclass(frozen=True, slots=True)
class ModelAdvice:
    """What was learned of one model; see :class:`~inferno_proxy.feedback.advice.Advice`. Nodes by node_id."""

    weights: Mapping[str, int] = field(default_factory=dict)
    stuck: frozenset[str] = frozenset()
    hedge_after: float = 0.0
    hopeless: bool = False
    limit: int = 0
    quarantined: frozenset[str] = frozenset()
    watched: bool = False


@dataclass(frozen=True, slots=True)
class _Laid:
    """A route as planned, what was laid over it, and what came of it."""

    route: ModelRoute
    advice: ModelAdvice | None
    steering: Steering
    made: ModelRoute


def by_model(advice: Advice) -> Mapping[str, ModelAdvice]:
    """Advice by model."""
    weights: dict[str, dict[str, int]] = {}
    for (model, node), weight in advice.weights.items():
        weights.setdefault(model, {})[node] = weight
    stuck: dict[str, set[str]] = {}
    for model, node in advice.stuck:
        stuck.setdefault(model, set()).add(node)
    named = weights.keys() | stuck.keys() | advice.hedge_after.keys() | advice.hopeless
    named |= advice.limits.keys() | advice.quarantined.keys() | advice.watched
    return {
        name: ModelAdvice(
            weights=weights.get(name, {}),
            stuck=frozenset(stuck.get(name, ())),
            hedge_after=advice.hedge_after.get(name, 0.0),
            hopeless=name in advice.hopeless,
            limit=advice.limits.get(name, 0),
            quarantined=advice.quarantined.get(name, frozenset()),
            watched=name in advice.watched or name in advice.quarantined,
        )
        for name in named
    }


def advised(planned: RoutePlan, advice: Advice) -> RoutePlan:
    """Lay advice over a plan. What the operator chose wins over what was learned."""
    return _overlaid(planned, by_model(advice))


def _overlaid(planned: RoutePlan, advice: Mapping[str, ModelAdvice]) -> RoutePlan:
    changed = {name: _route(planned.models[name], own) for name, own in advice.items() if name in planned.models}
    if not changed:
        return planned
    return replace(planned, models=MappingProxyType({**planned.models, **changed}))


def _route(route: ModelRoute, advice: ModelAdvice) -> ModelRoute:
    if not route.traffic.learn:
        # Nodes that are stuck and retries that help nobody are faults, not figures.
        advice = replace(advice, weights={}, hedge_after=0.0, limit=0)
    return replace(
        route,
        hedge_after=route.traffic.hedge_after or advice.hedge_after,
        hopeless=advice.hopeless,
        limit=advice.limit,
        quarantined=advice.quarantined,
        watched=advice.watched,
        grpc=_endpoints(route, route.grpc, advice),
        http=_endpoints(route, route.http, advice),
    )


def _endpoints(route: ModelRoute, endpoints: tuple[Endpoint, ...], advice: ModelAdvice) -> tuple[Endpoint, ...]:
    """The endpoints with their weights, without those that are stuck, unless nothing would be left that takes work.

    Keys stay where they are: another weight would move them to other nodes, and with them sequences and sessions.
    Endpoints that nothing was learned of stay the same objects, and all of them in order.
    """
    kept = endpoints
    if advice.stuck:
        moving = tuple(e for e in endpoints if e.node not in advice.stuck)
        kept = moving if any(not e.draining for e in moving) else endpoints
    if advice.weights and not route.keyed:
        weights = advice.weights
        kept = tuple(_weighed(e, weights[e.node]) if e.node in weights else e for e in kept)
    return without_gaps(kept)


def _weighed(endpoint: Endpoint, weight: int) -> Endpoint:
    return endpoint if endpoint.weight == weight else replace(endpoint, weight=weight)
