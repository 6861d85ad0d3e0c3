"""For each node that has a model: what share of its calls the node gets, and why no more. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_proxy.feedback.advice import FULL_WEIGHT, Advice
from inferno_proxy.feedback.observed import Observation
from inferno_proxy.fleet import Address, FleetView, Member, Model, Phase
from inferno_proxy.orders.order import EMPTY, Book, Kind
from inferno_proxy.reloading.quarantine import NOBODY, Quarantine
from inferno_proxy.routing.plan import Endpoint, ModelRoute, RoutePlan

_NOT_PLANNED = ModelRoute("")


@dataclass(frozen=True, slots=True)
class Scene:
    """What decided where calls go. ``ejected``: (address as text, model) of endpoints that a data plane keeps calls
    from. ``observed``: what is known of a model on a node, None when nothing is."""

    view: FleetView
    plan: RoutePlan
    advice: Advice = field(default_factory=Advice)
    book: Book = field(default_factory=lambda: EMPTY)
    held: Quarantine = field(default_factory=lambda: NOBODY)
    ejected: frozenset[tuple[str, str]] = frozenset()
    observed: Callable[[str, str], Observation | None] = lambda _model, _node: None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model on one node. ``share`` is the expected part of the model's calls, 0 to 1. ``weight`` is ``learned``
    times ``factor``, both of 1000. ``reasons`` say why it gets fewer calls than its best peers, a sentence each."""

    model: str
    member: Member
    share: float = 0.0
    weight: int = 0
    learned: int = FULL_WEIGHT
    factor: float = 1.0
    priority: int = 0
    group: str = ""
    draining: bool = False
    quarantined: bool = False
    ejected: bool = False
    stuck: bool = False
    reasons: tuple[str, ...] = ()
    observed: Observation | None = None

    @property
    def withheld(self) -> bool:
        """True when an operator ordered that it takes no calls."""
        return self.quarantined or self.factor == 0

    @property
    def takes_calls(self) -> bool:
        """True when new calls may go there."""
        return self.weight > 0 and not self.draining and not self.ejected


def having(view: FleetView) -> Mapping[str, Sequence[tuple[Member, Model]]]:
    """Who has each model, in whatever state; both sorted by name."""
    found: dict[str, list[tuple[Member, Model]]] = {}
    for node_id in sorted(view.members):
        member = view.members[node_id]
        for model in member.node.models:
            found.setdefault(model.name, []).append((member, model))
    return MappingProxyType(dict(sorted(found.items())))


def candidates(name: str, owners: Iterable[tuple[Member, Model]], scene: Scene) -> list[Candidate]:
    """What each owner of a model gets of its calls, by node_id."""
    route = scene.plan.models.get(name, _NOT_PLANNED)
    endpoints = {each.node: each for each in (*route.http, *route.grpc)}
    out = {node for node, each in endpoints.items() if _is_ejected(each.address, name, scene)}
    expected = shares([each for each in endpoints.values() if each.node not in out])
    return [_candidate(route, owner, endpoints, expected, scene) for owner in owners]


def shares(endpoints: Sequence[Endpoint]) -> Mapping[str, float]:
    """The expected part of the calls of each node: by weight, within the shares of a split, among those that come
    first."""
    working = [each for each in endpoints if not each.draining]
    first = min((each.priority for each in working), default=0)
    working = [each for each in working if each.priority == first]
    groups = {each.group: each.share for each in working}
    all_shares = sum(groups.values())
    found: dict[str, float] = {}
    for group, share in groups.items():
        members = [each for each in working if each.group == group]
        weight = sum(each.weight for each in members)
        part = share / all_shares if all_shares else 1.0
        found |= {each.node: part * each.weight / weight for each in members}
    return found


def _candidate(
    route: ModelRoute,
    owner: tuple[Member, Model],
    endpoints: Mapping[str, Endpoint],
    expected: Mapping[str, float],
    scene: Scene,
) -> Candidate:
    member, model = owner
    node = member.node.node_id
    endpoint = endpoints.get(node)
    weight_order = scene.book.get((Kind.NODE_WEIGHT, node))
    observed = scene.observed(model.name, node)
    made = Candidate(
        model=model.name,
        member=member,
        share=expected.get(node, 0.0),
        weight=endpoint.weight if endpoint else 0,
        learned=scene.advice.weights.get((model.name, node), FULL_WEIGHT) if _learns(route) else FULL_WEIGHT,
        factor=weight_order.factor if weight_order else 1.0,
        priority=endpoint.priority if endpoint else 0,
        group=endpoint.group if endpoint else "",
        draining=endpoint is not None and endpoint.draining,
        quarantined=any(key in scene.book for key in _quarantines(model.name, node)),
        ejected=any(
            _is_ejected(address, model.name, scene)
            for address in (member.node.grpc_address, member.node.http_address)
            if address
        ),
        stuck=(model.name, node) in scene.advice.stuck,
        observed=observed,
    )
    return replace(made, reasons=tuple(_reasons(made, model, route, scene)))


def _learns(route: ModelRoute) -> bool:
    return route.traffic.learn and not route.keyed


def _quarantines(model: str, node: str) -> Collection[tuple[Kind, str]]:
    return (Kind.NODE_QUARANTINE, node), (Kind.MODEL_QUARANTINE, model)


def _is_ejected(address: Address, model: str, scene: Scene) -> bool:
    return (str(address), model) in scene.ejected


def _reasons(made: Candidate, model: Model, route: ModelRoute, scene: Scene) -> Iterator[str]:
    member, node = made.member, made.member.node.node_id
    if not member.takes_work:
        yield f"Its node is {member.phase.value}: {member.reason or 'no reason is known.'}"
    elif member.phase is Phase.UNMANAGED:
        yield f"Its node is unmanaged: {member.reason}"
    if not model.ready:
        states = ", ".join(sorted({version.state.value for version in model.versions})) or "not loaded"
        yield f"The model is {states} there."
    for key in _quarantines(made.model, node):
        if key in scene.book:
            yield f"It is in quarantine: {scene.book[key].sentence()}."
    yield from _ordered(made, route, scene)
    if made.stuck:
        yield f"It is stuck: {scene.advice.stuck[made.model, node]}"
    if made.ejected:
        yield "Envoy ejected it for a while, for it kept failing."
    if node in scene.plan.left_out:
        yield f"It is left out: {scene.plan.left_out[node]}."
    elif not made.weight and member.takes_work and model.ready and not (made.stuck or made.withheld):
        yield _unplanned(node, route)
    if made.learned < FULL_WEIGHT:
        yield f"What was learned gives it {made.learned} of {FULL_WEIGHT}{_slower(made.observed)}."
    if made.priority:
        yield "It is farther away: it gets calls when those of nearer nodes fail."


def _ordered(made: Candidate, route: ModelRoute, scene: Scene) -> Iterator[str]:
    order = scene.book.get((Kind.NODE_WEIGHT, made.member.node.node_id))
    if order is not None:
        keyed = "; calls of this model follow a key, so it changes nothing" if route.keyed and made.factor else ""
        yield f"Its weight is ordered: {order.sentence()}{keyed}."


def _unplanned(node: str, route: ModelRoute) -> str:
    if any(each.node == node for each in (*route.grpc_copies, *route.http_copies)):
        return "It gets copies of calls, not calls."
    if route.traffic.split is not None:
        return "The split gives its group no share."
    return "It has just come: the next plan has it."


def _slower(observed: Observation | None) -> str:
    if observed is None or observed.times_slower <= 1:
        return ""
    return f": its calls take {observed.times_slower:.1f} times as long as those of the best"
