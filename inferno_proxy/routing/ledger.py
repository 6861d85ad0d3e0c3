"""A plan that follows the fleet: a change costs what it touches, and everything else is the same object as before.

:meth:`Ledger.follow` gives what :func:`inferno_proxy.routing.plan.plan` gives, where it is said what a plan is. That
function takes a third of a second for 10,000 nodes; here a node that changes costs a look at the members, to find it,
and a copy of its models' endpoints. Whoever translates a plan relies on identity: a route that is the same object needs
no new encoding.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from types import MappingProxyType

from inferno_proxy.fleet import Address, FleetView, Member, Phase, changed
from inferno_proxy.routing.aliases import in_force
from inferno_proxy.routing.grouping import Placed
from inferno_proxy.routing.plan import (
    Endpoint,
    ModelRoute,
    Owner,
    RoutePlan,
    RoutingSettings,
    admit,
    endpoint,
    model_route,
    ranks,
    weight_of,
)

# Endpoints are exchanged one by one up to so many, or so large a part of the model's; beyond, it is planned anew.
_FEW = 8
_PART = 1 / 16
_ADDRESS = attrgetter("address")


@dataclass(slots=True)
class _Tally:
    """How many members speak for what holds of the model as a whole, and how many endpoints are how far away."""

    stateful: int = 0
    decoupled: int = 0
    grpc: Counter[int] = field(default_factory=Counter)
    http: Counter[int] = field(default_factory=Counter)

    @property
    def shape(self) -> tuple[bool, bool, frozenset[int], frozenset[int]]:
        """What has to stay for endpoints to be exchanged one by one: the rest of the route follows from it."""
        return self.stateful > 0, self.decoupled > 0, frozenset(+self.grpc), frozenset(+self.http)


@dataclass(slots=True)
class _Known:
    """One model: who names it, its route, and the shape that this was made for."""

    owners: dict[str, Owner] = field(default_factory=dict)
    tally: _Tally = field(default_factory=_Tally)
    shape: object = None
    route: ModelRoute | None = None


# What nodes were for a model before a change, by node_id; None for one that gave it no endpoint.
_Former = dict[str, Member | None]


class Ledger:
    """The plan for a fleet that changes and settings that do not."""

    def __init__(self, settings: RoutingSettings) -> None:
        self._settings = settings
        self._view = FleetView()
        self._claims: dict[Address, set[str]] = {}
        self._admitted: set[str] = set()
        self._models: dict[str, _Known] = {}
        self._plan = RoutePlan(aliases=in_force(settings.aliases, ()))

    def follow(self, view: FleetView) -> RoutePlan:
        """The plan for a fleet; the same object as before when nothing in it changed."""
        before, now, news = self._view.members, view.members, changed(self._view, view)
        self._view = view
        if not news:
            return self._plan
        suspects = self._suspects(news, before, now)
        admitted, left_out = admit(now[node_id] for node_id in suspects if node_id in now)
        served = suspects & self._admitted
        self._admitted -= suspects
        self._admitted |= admitted
        touched: dict[str, _Former] = {}
        for node_id in news | (served ^ admitted):
            self._take_out(before.get(node_id), touched, served=node_id in served)
            self._take_in(now.get(node_id), touched)
        kept = {node_id: why for node_id, why in self._plan.left_out.items() if node_id not in suspects}
        routes = {name: self._route(name, former) for name, former in touched.items()}
        self._plan = self._planned(routes, kept | left_out)
        return self._plan

    def _suspects(self, news: frozenset[str], before: Mapping[str, Member], now: Mapping[str, Member]) -> set[str]:
        """The nodes of which to decide anew whether they may give endpoints: those that changed, all that share an
        address with one of them, now or before, and so on."""
        suspects = set(news)
        for node_id in news:
            for address in _claims(before.get(node_id)):
                suspects |= self._claims[address]
        for node_id in news:
            for address in _claims(before.get(node_id)):
                self._claims[address].discard(node_id)
        for node_id in news:
            for address in _claims(now.get(node_id)):
                self._claims.setdefault(address, set()).add(node_id)
        waiting = list(suspects)
        while waiting:
            for address in _claims(now.get(waiting.pop())):
                further = self._claims[address] - suspects
                suspects |= further
                waiting += further
        for node_id in news:
            for address in _claims(before.get(node_id)):
                if not self._claims.get(address, True):
                    del self._claims[address]
        return suspects

    # -------------------------------------------------------------------------------------------------- the models

    def _take_out(self, member: Member | None, touched: dict[str, _Former], *, served: bool) -> None:
        """Forget what a node was."""
        if member is None:
            return
        for model in member.node.models:
            known = self._models[model.name]
            del known.owners[member.node.node_id]
            self._count(known.tally, (member, model), -1, serves=served and model.ready)
            former = member if served and model.ready else None
            touched.setdefault(model.name, {})[member.node.node_id] = former

    def _take_in(self, member: Member | None, touched: dict[str, _Former]) -> None:
        """Note what a node is now."""
        if member is None:
            return
        for model in member.node.models:
            node_id = member.node.node_id
            known = self._models.setdefault(model.name, _Known())
            known.owners[node_id] = (member, model)
            self._count(known.tally, (member, model), +1, serves=model.ready and node_id in self._admitted)
            touched.setdefault(model.name, {}).setdefault(node_id, None)

    def _count(self, tally: _Tally, owner: Owner, sign: int, *, serves: bool) -> None:
        member, model = owner
        tally.stateful += sign * model.stateful
        tally.decoupled += sign * model.decoupled
        if serves:
            distance = self._settings.distance(member.node.region, member.node.zone)
            tally.grpc[distance] += sign
            if member.node.http_address is not None:
                tally.http[distance] += sign

    def _route(self, name: str, former: _Former) -> ModelRoute | None:
        """A touched model's route now; None when no node names it any more."""
        known = self._models[name]
        if not known.owners:
            del self._models[name]
            return None
        before, shape = known.route, known.tally.shape
        few = len(former) <= max(_FEW, len(known.owners) * _PART)
        if before is not None and few and shape == known.shape and _even(before):
            made = self._exchanged(before, known, former)
        else:
            made = model_route(name, known.owners.values(), self._admitted, self._settings)
        known.shape, known.route = shape, before if made == before else made
        return known.route

    def _exchanged(self, route: ModelRoute, known: _Known, former: _Former) -> ModelRoute:
        """The route with the endpoints of a few nodes exchanged."""
        gone = [member.node for member in former.values() if member is not None]
        owners = [known.owners[node_id] for node_id in former if node_id in known.owners]
        here = [m for m, model in owners if model.ready and m.node.node_id in self._admitted]
        weight = weight_of(route.stateful, route.traffic)

        def made(member: Member, address: Address, distances: Counter[int]) -> Endpoint:
            return endpoint(address, Placed(member), weight, ranks(+distances), self._settings)

        grpc = [made(m, m.node.grpc_address, known.tally.grpc) for m in here]
        http = [made(m, m.node.http_address, known.tally.http) for m in here if m.node.http_address is not None]
        return replace(
            route,
            grpc=exchanged(route.grpc, (node.grpc_address for node in gone), grpc),
            http=exchanged(route.http, (node.http_address for node in gone if node.http_address), http),
        )

    def _planned(self, routes: Mapping[str, ModelRoute | None], left_out: dict[str, str]) -> RoutePlan:
        before = self._plan
        news = {name: route for name, route in routes.items() if before.models.get(name) is not route}
        if not news and left_out == before.left_out:
            return before
        models, aliases = dict(before.models), before.aliases
        if all(route is not None and name in models for name, route in news.items()):
            models |= {name: route for name, route in news.items() if route is not None}
        else:
            known = sorted(self._models.items())
            models = {name: each.route for name, each in known if each.route is not None}
            aliases = in_force(self._settings.aliases, models)
        return RoutePlan(MappingProxyType(models), MappingProxyType(left_out), aliases)


def exchanged(
    endpoints: tuple[Endpoint, ...], gone: Iterable[Address], come: Iterable[Endpoint]
) -> tuple[Endpoint, ...]:
    """Endpoints sorted by address without those at some addresses, and with others; the same tuple when that changes
    nothing."""
    left = list(endpoints)
    for address in gone:
        del left[bisect_left(left, address, key=_ADDRESS)]
    for each in come:
        insort(left, each, key=_ADDRESS)
    made = tuple(left)
    return endpoints if made == endpoints else made


def _claims(member: Member | None) -> tuple[Address, ...]:
    """The addresses that a member claims, the failed ones none (see :func:`inferno_proxy.routing.plan.admit`)."""
    return () if member is None or member.phase is Phase.FAILED else member.node.addresses


def _even(route: ModelRoute) -> bool:
    """True when no node's part in the calls depends on what other nodes are."""
    return route.traffic.split is None and route.mirror is None
