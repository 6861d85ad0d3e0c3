"""Models that are kept from doing harm: a model whose configuration a data plane refuses is held back alone.

One route configuration holds the routes of all models, so one bad model would keep every later change away from every
data plane. Here is what follows for a plan, from values alone; :mod:`~inferno_proxy.reloading.warden` finds the models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType

from inferno_proxy.routing.plan import ModelRoute, RoutePlan


class Step(IntEnum):
    """What becomes of a model instead: each step is for when the one before it is refused as well."""

    BEFORE = 1
    CLOSED = 2
    GONE = 3

    @property
    def effect(self) -> str:
        """What it means for callers, in a clause."""
        return {
            Step.BEFORE: "it is treated as it was before",
            Step.CLOSED: "its calls are answered UNAVAILABLE",
            Step.GONE: "it has no route",
        }[self]


@dataclass(frozen=True, slots=True)
class Held:
    """A model in quarantine: what was refused of it, without its endpoints, and what happens instead. ``accepted`` is
    how it was treated when a data plane last accepted it, None when none ever did."""

    refused: ModelRoute
    step: Step
    accepted: ModelRoute | None = None

    def instead(self, route: ModelRoute) -> ModelRoute | None:
        """The model's route for as long as it is held; None for none at all."""
        if self.step is Step.BEFORE and self.accepted is not None:
            return replace(
                self.accepted,
                grpc=route.grpc,
                http=route.http,
                grpc_copies=route.grpc_copies,
                http_copies=route.http_copies,
            )
        # A plain treatment with endpoints would do what the operator has excluded, such as running a call twice.
        return ModelRoute(route.name) if self.step is Step.CLOSED else None


Quarantine = Mapping[str, Held]
NOBODY: Quarantine = MappingProxyType({})


def holds(held: Held, plan: RoutePlan) -> bool:
    """True while the model still is what was refused."""
    route = plan.models.get(held.refused.name)
    return route is not None and _treatment(route) == held.refused


def ended(quarantine: Quarantine, plan: RoutePlan) -> list[str]:
    """The models that are something else now than what was refused; one that is away is waited for."""
    return [name for name, held in quarantine.items() if name in plan.models and not holds(held, plan)]


def contained(plan: RoutePlan, quarantine: Quarantine) -> RoutePlan:
    """The plan with something else in the place of every model that is held."""
    active = {name: held for name, held in quarantine.items() if holds(held, plan)}
    if not active:
        return plan
    chosen = {n: active[n].instead(route) if n in active else route for n, route in plan.models.items()}
    return replace(plan, models=MappingProxyType({n: route for n, route in chosen.items() if route is not None}))


def treatments(plan: RoutePlan, quarantine: Quarantine) -> Mapping[str, ModelRoute]:
    """How each model of a plan that was accepted is treated, endpoints aside; a held one as before it was held."""
    active = {name: held.accepted for name, held in quarantine.items() if holds(held, plan)}
    chosen = {n: active[n] if n in active else _treatment(route) for n, route in plan.models.items()}
    return {name: route for name, route in chosen.items() if route is not None}


def hold(quarantine: Quarantine, route: ModelRoute, accepted: ModelRoute | None) -> Held:
    """The next step for a model that was found to do harm.

    ``route`` is what the plan says of it, ``accepted`` how it was treated when a data plane last accepted it.
    """
    refused, before = _treatment(route), quarantine.get(route.name)
    if before is not None and before.refused == refused:
        return replace(before, step=Step.CLOSED if before.step is Step.BEFORE else Step.GONE)
    if accepted is None or accepted == refused:
        return Held(refused, Step.CLOSED)
    return Held(refused, Step.BEFORE, accepted)


def suspects(plan: RoutePlan, accepted: Mapping[str, ModelRoute]) -> list[str]:
    """The models that are treated otherwise than when a data plane last accepted everything."""
    return [name for name, route in plan.models.items() if accepted.get(name) != _treatment(route)]


def without(plan: RoutePlan, names: Iterable[str]) -> RoutePlan:
    """The plan without some models, and without endpoints: what a canary needs of it."""
    left_out = frozenset(names)
    models = {name: route.without_endpoints() for name, route in plan.models.items() if name not in left_out}
    return replace(plan, models=MappingProxyType(models))


def _treatment(route: ModelRoute) -> ModelRoute:
    """A route without what changes all day long: its endpoints, and what was learned of them."""
    return replace(route.without_endpoints(), hedge_after=route.traffic.hedge_after)
