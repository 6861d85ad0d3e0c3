"""What operators ordered of nodes and models, laid over a plan: who takes no new calls, and who more or fewer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_proxy.fleet import FleetView
from inferno_proxy.routing.caps import Cap
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan, without_gaps

Endpoints = tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Steering:
    """``factors``: by node_id, how many times the weight it would have; 0 is no new calls. ``nodes`` and ``models``
    take no new calls at all. ``caps`` say whose calls are refused. A node or model that is not there now is
    steered when it comes."""

    factors: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    nodes: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    caps: tuple[Cap, ...] = ()

    @property
    def withheld(self) -> frozenset[str]:
        """The nodes that get no new calls."""
        return self.nodes | {node for node, factor in self.factors.items() if not factor}


FREE = Steering()


def steered(view: FleetView, steering: Steering) -> frozenset[str]:
    """The models whose routes orders change."""
    named = _models(view, steering.nodes | steering.factors.keys()) | steering.models
    capped = {each.model for each in steering.caps}
    return named | (_models(view, view.members) if "" in capped else capped)


def withheld(planned: RoutePlan, view: FleetView, steering: Steering) -> RoutePlan:
    """The plan without the endpoints that get nothing new. Data planes let end what runs there; as draining, they would
    be called all the same once all others fail."""
    nodes = steering.withheld
    return _over(
        planned,
        _models(view, nodes) | steering.models,
        lambda route: _through(route, lambda them: _kept(them, nodes, closed=route.name in steering.models)),
    )


def weighed(planned: RoutePlan, view: FleetView, steering: Steering) -> RoutePlan:
    """The plan with the ordered factors on its weights; calls that follow a key stay where they are."""
    factors = {node: factor for node, factor in steering.factors.items() if factor}
    return _over(
        planned,
        _models(view, factors),
        lambda route: route if route.keyed else _through(route, lambda them: _all_weighed(them, factors)),
    )


def capped(planned: RoutePlan, steering: Steering) -> RoutePlan:
    """The plan with the caps on the models that they cover."""
    if not steering.caps:
        return planned
    return _over(
        planned,
        planned.models,
        lambda route: replace(route, caps=tuple(each for each in steering.caps if each.covers(route.name))),
    )


def _models(view: FleetView, nodes: Iterable[str]) -> frozenset[str]:
    """The models of some nodes: the others' routes need no look, however large the fleet is."""
    members = (view.members[node] for node in nodes if node in view.members)
    return frozenset(model.name for member in members for model in member.node.models)


def _over(planned: RoutePlan, names: Iterable[str], change: Callable[[ModelRoute], ModelRoute]) -> RoutePlan:
    changed = {name: change(planned.models[name]) for name in names if name in planned.models}
    if not changed:
        return planned
    return replace(planned, models=MappingProxyType({**planned.models, **changed}))


def _through(route: ModelRoute, change: Callable[[Endpoints], Endpoints]) -> ModelRoute:
    return replace(
        route,
        # What is changed of an endpoint leaves it in its place: they are sorted by address.
        grpc=change(route.grpc),
        http=change(route.http),
        grpc_copies=change(route.grpc_copies),
        http_copies=change(route.http_copies),
    )


def _kept(endpoints: Endpoints, nodes: frozenset[str], *, closed: bool) -> Endpoints:
    return () if closed else without_gaps(tuple(each for each in endpoints if each.node not in nodes))


def _all_weighed(endpoints: Endpoints, factors: Mapping[str, float]) -> Endpoints:
    return tuple(_weighed(each, factors.get(each.node, 1.0)) for each in endpoints)


def _weighed(endpoint: Endpoint, factor: float) -> Endpoint:
    return replace(endpoint, weight=max(1, round(endpoint.weight * factor))) if factor != 1 else endpoint
