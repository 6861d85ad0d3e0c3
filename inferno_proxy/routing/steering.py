"""What operators ordered of nodes and models, laid over a plan: who takes no new calls, and who more or fewer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_proxy.fleet import FleetView
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan


@dataclass(frozen=True, slots=True)
class Steering:
    """``factors``: by node_id, how many times the weight it would have; 0 is no new calls. ``nodes`` and ``models``
    take no new calls at all. A node or model that is not there now is steered when it comes."""

    factors: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    nodes: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()

    @property
    def withheld(self) -> frozenset[str]:
        """The nodes that get no new calls."""
        return self.nodes | {node for node, factor in self.factors.items() if not factor}


FREE = Steering()


def steered(view: FleetView, steering: Steering) -> frozenset[str]:
    """The models whose routes orders change."""
    return _models(view, steering.nodes | steering.factors.keys()) | steering.models


def withheld(planned: RoutePlan, view: FleetView, steering: Steering) -> RoutePlan:
    """The plan with endpoints that get nothing new as draining: what runs there ends in peace."""
    nodes = steering.withheld
    return _over(
        planned,
        _models(view, nodes) | steering.models,
        lambda route: _each(route, lambda e: _withheld(e, nodes, closed=route.name in steering.models)),
    )


def weighed(planned: RoutePlan, view: FleetView, steering: Steering) -> RoutePlan:
    """The plan with the ordered factors on its weights; calls that follow a key stay where they are."""
    factors = {node: factor for node, factor in steering.factors.items() if factor}
    return _over(
        planned,
        _models(view, factors),
        lambda route: route if route.keyed else _each(route, lambda e: _weighed(e, factors.get(e.node, 1.0))),
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


def _each(route: ModelRoute, change: Callable[[Endpoint], Endpoint]) -> ModelRoute:
    return replace(
        route,
        # What is changed of an endpoint leaves it in its place: they are sorted by address.
        grpc=tuple(map(change, route.grpc)),
        http=tuple(map(change, route.http)),
        grpc_copies=tuple(map(change, route.grpc_copies)),
        http_copies=tuple(map(change, route.http_copies)),
    )


def _withheld(endpoint: Endpoint, nodes: frozenset[str], *, closed: bool) -> Endpoint:
    return replace(endpoint, draining=True) if closed or endpoint.node in nodes else endpoint


def _weighed(endpoint: Endpoint, factor: float) -> Endpoint:
    return replace(endpoint, weight=max(1, round(endpoint.weight * factor))) if factor != 1 else endpoint
