"""Random histories of a whole control plane without its wire: nodes, operators and settings on one side, data planes of
every kind on the other, and the real registry, planner, encoder, publisher and subscriptions between them.

``INFERNO_HISTORIES`` is how many histories are played, for nightly runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inferno_proxy.envoy.bootstrap import RUNTIME_LAYER
from inferno_proxy.events import EventLog
from inferno_proxy.feedback.advice import Advice
from inferno_proxy.fleet import Model, ModelState
from inferno_proxy.publishing.consistency import Inspector
from inferno_proxy.publishing.protobuf_subset import messages
from inferno_proxy.publishing.publisher import Publisher, Recipe, Sources
from inferno_proxy.publishing.snapshot import Dialect, ResourceType, Snapshot, same_content
from inferno_proxy.registry.lease import Lease, Terms
from inferno_proxy.registry.registry import Registry
from inferno_proxy.resources import Builder, ResourceSettings, build
from inferno_proxy.resources.names import PUBLIC, grpc_cluster
from inferno_proxy.routing.advised import Planner, advised
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_proxy.routing.traffic import Balance, Split, Traffic, TrafficTable
from inferno_proxy.xds import delta, sotw
from inferno_proxy.xds.order import Answer
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Fenced, NotFound
from inferno_runtime.latest import Latest
from tests.unit.inferno_proxy.nodes import model, node
from tests.unit.inferno_proxy.xds.peers import CDS, EDS, LDS, RDS, RTDS, Server, ack

HISTORIES = int(os.environ.get("INFERNO_HISTORIES", "120"))
NODES = st.sampled_from(["a", "b", "c", "d"])
PORTS = st.integers(1, 5)
MODELS = ("m", "n")
READY, LOADING = ModelState.READY, ModelState.LOADING
# More answers than any history can leave to be given.
MANY = 400
SOCKETS = ResourceSettings("/d/g.sock", "/d/h.sock")

models = st.lists(
    st.builds(model, st.sampled_from(MODELS), st.sampled_from([READY, READY, LOADING]), stateful=st.just(False)),
    max_size=2,
    unique_by=lambda each: each.name,
).map(tuple)
recipes = st.builds(
    Recipe,
    st.sampled_from(
        [
            RoutingSettings(),
            RoutingSettings(region="here"),
            RoutingSettings(traffic=TrafficTable({"m": Traffic(balance=Balance.RING_HASH)})),
            RoutingSettings(traffic=TrafficTable({"m": Traffic(split=Split("group", (("x", 9), ("y", 1))))})),
        ]
    ),
    st.sampled_from(
        [ResourceSettings("/d/g.sock", "/d/h.sock"), ResourceSettings("/d/g.sock", "/d/h.sock", healing=False)]
    ),
)
advice = st.builds(
    Advice,
    weights=st.dictionaries(st.tuples(st.sampled_from(MODELS), NODES), st.integers(5, 90), max_size=2),
    stuck=st.dictionaries(st.tuples(st.sampled_from(MODELS), NODES), st.just("It holds work."), max_size=2),
    limits=st.dictionaries(st.sampled_from(MODELS), st.integers(1, 9), max_size=1),
)
_endpoints = messages(
    "mesh_histories",
    {
        "Assignment": {"endpoints": (2, "Locality*")},
        "Locality": {"lb_endpoints": (2, "Endpoint*")},
        "Endpoint": {"health_status": (2, "int")},
    },
)


def taking_work(body: bytes) -> int:
    """How many endpoints of a resource get new calls: those that drain have a health status of their own."""
    groups = _endpoints("Assignment").FromString(body).endpoints
    return sum(not each.health_status for group in groups for each in group.lb_endpoints)


class Peer:
    """A data plane: what it holds, and its end of a stream. It refuses when it is told to."""

    def __init__(self, dialect: Dialect, *, sotw_rules: bool, model: str = "") -> None:
        self.dialect, self.sotw_rules = dialect, sotw_rules
        self.held: dict[str, dict[str, str]] = {kind: {} for kind in (CDS, EDS, LDS, RDS, RTDS)}
        if dialect is Dialect.ENVOY:
            self.names: dict[str, set[str]] = {EDS: set(), RDS: {PUBLIC}, RTDS: {RUNTIME_LAYER}}
        else:
            cluster = {grpc_cluster(model)}
            self.names = {CDS: cluster, EDS: cluster, LDS: {model}, RDS: {model}}
        self.server = Server()
        self.unanswered: list[Answer] = []

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in self.held if kind in self.names or self.dialect is Dialect.ENVOY]

    def connect(self, snapshot: Snapshot) -> None:
        """Open a stream, and say what is held from the one before."""
        self.server = Server(snapshot, self.dialect, self.sotw_rules, now=self.server.now)
        self.unanswered = []
        for kind in self.kinds:
            self.server.take(self._first(kind))
            self.hear()

    def _first(self, kind: str) -> sotw.Request | delta.Request:
        names = tuple(sorted(self.names.get(kind, ())))
        return sotw.Request(kind, names) if self.sotw_rules else delta.Request(kind, names, held=dict(self.held[kind]))

    def publish(self, snapshot: Snapshot) -> None:
        self.server.snapshot = snapshot
        self.hear()

    def hear(self) -> None:
        self.unanswered += self.server.drain()

    def respond(self, index: int, *, refuse: bool = False) -> None:
        """Answer one of the answers that came."""
        answer = self.unanswered.pop(index % len(self.unanswered))
        if not refuse:
            self._apply(answer)
        named = sorted(self.names.get(answer.type, ())) if self.sotw_rules else None
        self.server.take(ack(answer, sotw_names=named, error="It is told to." if refuse else None))
        self.hear()
        if answer.type == CDS and self.dialect is Dialect.ENVOY:
            self._want_endpoints()

    def _apply(self, answer: Answer) -> None:
        mine = self.held[answer.type]
        if self.sotw_rules and answer.type in (CDS, LDS):
            mine.clear()
        mine |= {resource.name: resource.version for resource in answer.resources}
        for name in answer.removed:
            mine.pop(name, None)

    def _want_endpoints(self) -> None:
        """An Envoy asks for the endpoints of the clusters that it has."""
        before, wanted = self.names[EDS], {name for name in self.held[CDS] if name.startswith("model/")}
        if wanted == before:
            return
        self.names[EDS] = wanted
        self.held[EDS] = {name: version for name, version in self.held[EDS].items() if name in wanted}
        if self.sotw_rules:
            # An answer that is on its way has not been seen, so the client still says the nonce before it.
            under_way = any(answer.type == EDS for answer in self.unanswered)
            nonce = "old" if under_way else self.server.session.subscriptions[EDS].nonce
            self.server.take(sotw.Request(EDS, tuple(sorted(wanted)), nonce=nonce))
        else:
            self.server.take(delta.Request(EDS, tuple(sorted(wanted - before)), tuple(sorted(before - wanted))))
        self.hear()

    def settle(self) -> None:
        """Accept everything until nothing comes any more."""
        for _ in range(MANY):
            if not self.unanswered:
                self.server.now += 20.0
                self.hear()
            if not self.unanswered:
                return
            self.respond(0)
        raise AssertionError("an endless exchange")

    def check(self) -> None:
        """Everything that was asked for is there and is the newest, unless it was refused."""
        assert self.server.session.applied == self.server.snapshot.serial
        for kind in self.kinds:
            there, sub = self.server.snapshot.resources[ResourceType(kind)], self.server.session.subscriptions[kind]
            if "" in sub.refused:
                continue
            for name in self.names.get(kind, set(there)) & there.keys():
                if name not in sub.refused:
                    assert self.held[kind].get(name) == there[name].version, f"{name} of {kind}"


class Histories(RuleBasedStateMachine):
    """The control plane, and four data planes: Envoys of both variants, and a gRPC library for each model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.registry = Registry(Terms(3, 20), self.clock, EventLog(self.clock))
        self.recipe = Latest(Recipe(RoutingSettings(), SOCKETS))
        self.advice = Latest(Advice())
        self.publisher = Publisher(
            Sources(self.registry.view, self.recipe, self.advice), self.clock, plan=Planner(), build=Builder()
        )
        self.leases: dict[str, Lease] = {}
        self.zombies: list[Lease] = []
        self.incarnation = self.revision = 0
        self.seen: Mapping[Dialect, Snapshot] = {}
        self.peers = [
            Peer(Dialect.ENVOY, sotw_rules=False),
            Peer(Dialect.ENVOY, sotw_rules=True),
            *(Peer(Dialect.GRPC, sotw_rules=True, model=name) for name in MODELS),
        ]

    @initialize(there=st.dictionaries(NODES, models, max_size=4))
    def begin(self, there: dict[str, tuple[Model, ...]]) -> None:
        for port, (name, served) in enumerate(there.items(), 1):
            self.registers(name, port, served, "here", "x")
        self.publisher.publish()
        self.seen = self.publisher.snapshots.value
        for peer in self.peers:
            peer.connect(self.seen[peer.dialect])

    def _granted(self, name: str, lease: Lease) -> None:
        if name in self.leases:
            self.zombies.append(self.leases[name])
        self.leases[name] = lease

    # ------------------------------------------------------------------------------------------------------- nodes

    @rule(name=NODES, port=PORTS, models=models, region=st.sampled_from(["here", "there"]), group=st.sampled_from("xy"))
    def registers(self, name: str, port: int, models: tuple[Model, ...], region: str, group: str) -> None:
        self.incarnation += 1
        self.revision += 1
        made = node(
            name,
            self.incarnation,
            port,
            revision=self.revision,
            models=models,
            region=region,
            labels={"group": group},
        )
        if name in self.leases:
            # Whoever had the name has gone without a word; a second machine would be refused.
            self.leases[name].detach()
        self._granted(name, self.registry.join(made))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), port=PORTS, models=models)
    def changes(self, data: st.DataObject, port: int, models: tuple[Model, ...]) -> None:
        name = data.draw(st.sampled_from(sorted(self.leases)))
        self.revision += 1
        before = self.registry.member(name).node
        moved = replace(before.grpc_address, port=port)
        changed = replace(before, grpc_address=moved, models=models, revision=self.revision)
        self.leases[name].update(changed)

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def a_zombie_speaks(self, data: st.DataObject) -> None:
        zombie, before = data.draw(st.sampled_from(self.zombies)), self.registry.view.value
        try:
            zombie.renew()
        except Fenced:
            assert self.registry.view.value is before
        else:
            raise AssertionError("a zombie was heard")

    @rule(name=NODES)
    def says_goodbye(self, name: str) -> None:
        member = self.registry.view.value.members.get(name)
        if member is not None:
            self.registry.deregister(name, member.node.incarnation)
            self.zombies.append(self.leases.pop(name))

    @rule(seconds=st.integers(1, 8))
    def leases_end(self, seconds: int) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))
        self.registry.expire()
        for name in set(self.leases) - set(self.registry.view.value.members):
            self.zombies.append(self.leases.pop(name))

    # --------------------------------------------------------------------------------------------------- operators

    @rule(name=NODES, drained=st.booleans())
    def is_drained(self, name: str, drained: bool) -> None:
        try:
            self.registry.drain(name, drained=drained)
        except NotFound:
            assert name not in self.registry.view.value.members

    @rule(recipe=recipes)
    def settings_are_read_again(self, recipe: Recipe) -> None:
        self.recipe.set(recipe)

    @rule(learned=advice)
    def something_is_learned(self, learned: Advice) -> None:
        self.advice.set(learned)

    # ------------------------------------------------------------------------------------------------- data planes

    @rule()
    def is_published(self) -> None:
        self.publisher.publish()
        newest = self.publisher.snapshots.value
        assert not self.publisher.refusal.value
        if newest is self.seen:
            return
        for dialect, snapshot in newest.items():
            before = self.seen[dialect]
            assert snapshot.serial > before.serial
            for name in snapshot.revisions.keys() & before.revisions.keys():
                assert snapshot.revisions[name] >= before.revisions[name]
        self.seen = newest
        for peer in self.peers:
            peer.publish(newest[peer.dialect])

    @rule(peer=st.integers(0, 3), index=st.integers(0, 5), refuse=st.sampled_from([False, False, False, True]))
    def a_data_plane_answers(self, peer: int, index: int, refuse: bool) -> None:
        if self.peers[peer].unanswered:
            self.peers[peer].respond(index, refuse=refuse)

    @rule(peer=st.integers(0, 3))
    def a_data_plane_comes_again(self, peer: int) -> None:
        self.peers[peer].connect(self.seen[self.peers[peer].dialect])

    @rule(peer=st.integers(0, 3), seconds=st.sampled_from([0.5, 2.0, 20.0]))
    def a_data_plane_takes_its_time(self, peer: int, seconds: float) -> None:
        self.peers[peer].server.now += seconds
        self.peers[peer].hear()

    # -------------------------------------------------------------------------------------------------- what holds

    @invariant()
    def one_answer_of_a_type_is_in_flight(self) -> None:
        for peer in self.peers:
            kinds = [answer.type for answer in peer.unanswered]
            assert len(kinds) == len(set(kinds))

    def teardown(self) -> None:
        try:
            if self.seen:
                self._check()
        finally:
            self.loop.close()

    def _check(self) -> None:
        self.is_published()
        for snapshot in self.seen.values():
            assert Inspector().inspect(snapshot) == []
        self._nothing_is_lost_by_following()
        self._models_that_are_served_have_endpoints()
        for peer in self.peers:
            peer.settle()
            peer.check()

    def _nothing_is_lost_by_following(self) -> None:
        recipe = self.recipe.value
        alone = advised(plan(self.registry.view.value, recipe.routing), self.advice.value)
        anew: Mapping[Dialect, Snapshot] = build(alone, recipe.resources, 1, {})
        for dialect, snapshot in self.seen.items():
            assert same_content(snapshot.resources, anew[dialect].resources)

    def _models_that_are_served_have_endpoints(self) -> None:
        served = {
            each.name
            for member in self.registry.view.value.members.values()
            for each in member.node.models
            if member.takes_work and each.ready
        }
        for snapshot in self.seen.values():
            endpoints: Any = snapshot.resources[ResourceType.ENDPOINT]
            for name in served:
                assert taking_work(endpoints[grpc_cluster(name)].body) > 0


Histories.TestCase.settings = settings(max_examples=HISTORIES, stateful_step_count=30, deadline=None)
TestHistories = Histories.TestCase
