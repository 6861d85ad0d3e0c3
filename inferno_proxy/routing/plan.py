"""What the data plane should do, in our own words: which model is served where, and what is safe to repeat.

:func:`plan` turns a :class:`~inferno_proxy.fleet.FleetView` into a :class:`RoutePlan`. Nothing here knows Envoy, gRPC
or xDS; :mod:`inferno_proxy.resources` translates a plan for them.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from inferno_proxy.feedback.advice import FULL_WEIGHT
from inferno_proxy.fleet import Address, FleetView, Member, Model, Phase, Source
from inferno_proxy.routing.access import AccessTable
from inferno_proxy.routing.aliases import Alias, in_force
from inferno_proxy.routing.bands import band
from inferno_proxy.routing.caps import Cap
from inferno_proxy.routing.grouping import Placed, grouped
from inferno_proxy.routing.traffic import ORDINARY, Mirror, Traffic, TrafficTable
from inferno_runtime.addresses import is_ip
from inferno_runtime.places import REGIONS, Place

# A member that names a model, and what it says of it.
Owner = tuple[Member, Model]


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """What an operator may choose about routing: ``traffic`` says how each model's calls are treated, ``aliases`` what
    else models are called.

    ``region`` and ``zone`` are the proxy's own, empty when unknown: nearer nodes come first. ``places`` says where
    regions are, besides those of :data:`inferno_runtime.places.REGIONS`. Without ``nearest_first`` nearness
    counts for nothing. ``hedge_budget`` is the part of a model's calls that may be sent to a second node, after a delay
    that is learned. ``access`` says who may call what.
    """

    traffic: TrafficTable = field(default_factory=TrafficTable)
    region: str = ""
    zone: str = ""
    aliases: Mapping[str, Alias] = field(default_factory=lambda: MappingProxyType({}))
    places: Mapping[str, Place] = field(default_factory=lambda: MappingProxyType({}))
    nearest_first: bool = True
    hedge_budget: float = 0.02
    access: AccessTable = field(default_factory=AccessTable)

    def may_repeat(self, model: str) -> float:
        """The part of a model's calls for which a delay is to be learned: 0 where the operator chose one, or none."""
        traffic = self.traffic.of(model)
        return self.hedge_budget if traffic.repeatable and traffic.retries and not traffic.hedge_after else 0.0

    @property
    def circles(self) -> bool:
        """True when some nodes may be nearer than others."""
        return self.nearest_first and bool(self.region or self.zone)

    def distance(self, region: str, zone: str) -> int:
        """0 for a node of the proxy's own zone, 1 of its region, from 2 on elsewhere, farther regions later. An unknown
        zone of one's own counts as every zone of the region, an unknown region as every region."""
        if not self.circles:
            return 0
        if self.region and region != self.region:
            return 2 + band(self._place(self.region), self._place(region))
        return 1 if self.zone and zone != self.zone else 0

    def _place(self, region: str) -> Place | None:
        return self.places.get(region) or REGIONS.get(region)


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One place that serves a model. ``address.host`` is always an IP address. ``weight`` says how many calls
    it gets beside the model's other endpoints, at least 1.

    A ``draining`` endpoint finishes what runs and gets nothing new. ``node`` is the node's id, the same for its gRPC
    and its REST address. ``region`` and ``zone`` may be empty. ``share`` is how much of the model's calls the
    endpoints of the same ``group`` take together, 0 without a split. Endpoints
    of a later ``priority`` get calls when those of earlier ones fail; a model's priorities have no gap. ``tls``: it
    takes TLS with a certificate of the mesh, and nothing else.
    """

    address: Address
    node: str = ""
    weight: int = FULL_WEIGHT
    draining: bool = False
    region: str = ""
    zone: str = ""
    group: str = ""
    share: int = 0
    priority: int = 0
    tls: bool = False


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """How calls for one model travel.

    ``repeatable``: the same call may be executed twice (never true for a stateful model). ``stateful``: calls that
    carry one sequence id stay on one node. ``grpc`` and ``http`` are sorted by address, without duplicates; both are
    empty for a model that the fleet knows and no node can serve now. ``traffic`` is what the operator chose.
    ``hedge_after`` is the delay of a second try in seconds, chosen or learned, 0 for none. ``nearest_first``: endpoints
    may have priorities; ``grpc_copies`` and ``http_copies`` are who gets copies of calls.
    ``hopeless``: every endpoint fails, and a second try would only add to the load.
    ``quarantined`` are fingerprints of requests that are refused; ``watched``: every call is fingerprinted, not only
    gRPC calls that name the model in the message. ``callers``: the accesses of clients that may call the model (see
    :mod:`inferno_proxy.routing.access`), None for everybody. ``caps``: whose calls are refused.
    """

    name: str
    stateful: bool = False
    decoupled: bool = False
    repeatable: bool = True
    traffic: Traffic = ORDINARY
    hedge_after: float = 0.0
    nearest_first: bool = False
    grpc: tuple[Endpoint, ...] = ()
    http: tuple[Endpoint, ...] = ()
    grpc_copies: tuple[Endpoint, ...] = ()
    http_copies: tuple[Endpoint, ...] = ()
    hopeless: bool = False
    limit: int = 0
    quarantined: frozenset[str] = frozenset()
    watched: bool = False
    callers: tuple[str, ...] | None = None
    caps: tuple[Cap, ...] = ()

    @property
    def mirror(self) -> Mirror | None:
        """Who gets copies of calls: nobody those of a stateful model, whose sequences they would tear apart."""
        return None if self.stateful else self.traffic.mirror

    def without_endpoints(self) -> ModelRoute:
        """What its routes depend on: nodes come and go, and limits change, without a new encoding."""
        return replace(self, grpc=(), http=(), grpc_copies=(), http_copies=(), hopeless=False, limit=0)

    @property
    def keyed(self) -> bool:
        """True when calls with one key go to one node: a sequence id, or what the operator chose."""
        return self.stateful or self.traffic.balance.hashes


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Every model the fleet knows, by name (sorted), the members that had to be left out, with the reason, and the
    aliases that hold; the fleet may not know what one stands for."""

    models: Mapping[str, ModelRoute] = field(default_factory=lambda: MappingProxyType({}))
    left_out: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    aliases: Mapping[str, Alias] = field(default_factory=lambda: MappingProxyType({}))


def plan(view: FleetView, settings: RoutingSettings) -> RoutePlan:
    """Decide where calls for each model go.

    A member that takes work gives an endpoint to each model of which a version is ready; a draining member gives a
    draining endpoint; a failed one gives none. A model that any member names, in whatever state, keeps its route. When
    two members claim one address, the stronger claim wins it for all models (see :func:`_claim`), so that no request
    reaches a server that belongs to somebody else. A member whose address is a host name is left out: data planes take
    IP addresses only, so names are resolved where nodes are discovered.
    """
    admitted, left_out = admit(view.members.values())
    owners: dict[str, dict[str, Owner]] = {}
    for node_id, member in view.members.items():
        for model in member.node.models:
            owners.setdefault(model.name, {})[node_id] = (member, model)
    models = {name: model_route(name, owners[name].values(), admitted, settings) for name in sorted(owners)}
    return RoutePlan(MappingProxyType(models), MappingProxyType(left_out), in_force(settings.aliases, models))


def model_route(
    name: str, owners: Collection[Owner], admitted: Container[str], settings: RoutingSettings
) -> ModelRoute:
    """How calls for one model travel, of which these members tell; those ``admitted`` may give endpoints."""
    stateful = any(model.stateful for _, model in owners)
    traffic = settings.traffic.of(name)
    serving = [(m, model) for m, model in owners if model.ready and m.node.node_id in admitted]
    placed, copies = grouped(serving, replace(traffic, mirror=None) if stateful else traffic)
    to_copy = [Placed(m) for m in copies]
    weight = weight_of(stateful, traffic)
    return ModelRoute(
        name=name,
        stateful=stateful,
        decoupled=any(model.decoupled for _, model in owners),
        repeatable=traffic.repeatable and not stateful,
        traffic=traffic,
        hedge_after=traffic.hedge_after,
        nearest_first=settings.circles,
        grpc=_grpc(placed, settings, weight),
        http=_http(placed, settings, weight),
        grpc_copies=_grpc(to_copy, settings, weight),
        http_copies=_http(to_copy, settings, weight),
        callers=settings.access.callers(name),
    )


def admit(members: Iterable[Member]) -> tuple[set[str], dict[str, str]]:
    """Node ids that may give endpoints, and why each of the others (failed ones aside) may not."""
    admitted: set[str] = set()
    left_out: dict[str, str] = {}
    holder: dict[Address, str] = {}
    for member in sorted(members, key=_claim, reverse=True):
        node = member.node
        addresses = node.addresses
        if member.phase is Phase.FAILED:
            continue
        name = next((a for a in addresses if not is_ip(a.host)), None)
        taken = next((a for a in addresses if a in holder), None)
        if name is not None:
            left_out[node.node_id] = f"its address {name} is a host name; the data plane takes IP addresses only"
        elif taken is not None:
            left_out[node.node_id] = f"its address {taken} belongs to node {holder[taken]!r}"
        else:
            admitted.add(node.node_id)
            holder.update(dict.fromkeys(addresses, node.node_id))
    return admitted, left_out


def _claim(member: Member) -> tuple[bool, int, float, str]:
    """Strength of a member's claim to its address: serving before unmanaged or draining, an agent's word before an
    announcement before a list, then the newer one; the node id makes the order total."""
    rank = {Source.AGENT: 2, Source.ANNOUNCED: 1}.get(member.source, 0)
    return member.phase is Phase.SERVING, rank, member.since, member.node.node_id


def _grpc(placed: Iterable[Placed], settings: RoutingSettings, weight: int) -> tuple[Endpoint, ...]:
    return _endpoints([(each.member.node.grpc_address, each) for each in placed], settings, weight)


def _http(placed: Iterable[Placed], settings: RoutingSettings, weight: int) -> tuple[Endpoint, ...]:
    reached = [(address, each) for each in placed if (address := each.member.node.http_address) is not None]
    return _endpoints(reached, settings, weight)


def _endpoints(
    members: Sequence[tuple[Address, Placed]], settings: RoutingSettings, weight: int
) -> tuple[Endpoint, ...]:
    distances = {settings.distance(each.member.node.region, each.member.node.zone) for _, each in members}
    priority = ranks(distances)
    return tuple(sorted(endpoint(address, each, weight, priority, settings) for address, each in members))


def weight_of(stateful: bool, traffic: Traffic) -> int:
    """The weight of a model's endpoints. gRPC multiplies it on a hash ring by its locality's, in 31 bits."""
    return 1 if stateful or traffic.balance.hashes else FULL_WEIGHT


def ranks(distances: Iterable[int]) -> Mapping[int, int]:
    """The priority of each distance that occurs: they have no gap."""
    return {distance: rank for rank, distance in enumerate(sorted(distances))}


def without_gaps(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The same with priorities 0, 1, ...: data planes refuse a gap. Without one, they are the same object."""
    rank = ranks({each.priority for each in endpoints})
    if all(distance == number for distance, number in rank.items()):
        return endpoints
    return tuple(replace(each, priority=rank[each.priority]) for each in endpoints)


def endpoint(
    address: Address, placed: Placed, weight: int, priority: Mapping[int, int], settings: RoutingSettings
) -> Endpoint:
    """A member's endpoint at one of its addresses; ``priority`` has that of its distance."""
    node = placed.member.node
    return Endpoint(
        address=address,
        node=node.node_id,
        weight=weight,
        draining=not placed.member.takes_work,
        region=node.region,
        zone=node.zone,
        group=placed.group,
        share=placed.share,
        priority=priority[settings.distance(node.region, node.zone)],
        tls=node.tls,
    )
