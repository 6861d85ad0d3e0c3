"""Random histories of nodes that join, go silent, come back, restart as zombies, drain and share addresses."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inferno_proxy.events import EventLog
from inferno_proxy.fleet import Phase, Source
from inferno_proxy.registry.admission import Limits
from inferno_proxy.registry.lease import Lease, Terms
from inferno_proxy.registry.registry import Registry
from inferno_proxy.routing.plan import RoutingSettings, plan
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import AlreadyExists, Fenced, InvalidInput, NotFound
from tests.unit.inferno_proxy.nodes import model, node

NAMES = st.sampled_from(["a", "b", "c"])
PORTS = st.integers(1, 4)


class Histories(RuleBasedStateMachine):
    """The model beside the registry: which lease was granted last for each name, and all that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.registry = Registry(Terms(3, 20, Limits()), self.clock, EventLog(self.clock))
        self.current: dict[str, Lease] = {}
        self.zombies: list[Lease] = []
        self.incarnation = 0
        self.revision = 0
        self.serial = 0
        self.revisions: dict[tuple[str, int], int] = {}

    def teardown(self) -> None:
        self.loop.close()

    def _granted(self, name: str, lease: Lease) -> None:
        if name in self.current:
            self.zombies.append(self.current[name])
        self.current[name] = lease

    @rule(name=NAMES, port=PORTS)
    def starts_anew(self, name: str, port: int) -> None:
        self.incarnation += 1
        self.revision += 1
        fresh = node(name, self.incarnation, port, revision=self.revision)
        try:
            self._granted(name, self.registry.join(fresh))
        except AlreadyExists:
            assert self.registry.view.value.members[name].phase is not Phase.UNMANAGED

    @rule(name=NAMES)
    def comes_back_in_the_same_life(self, name: str) -> None:
        member = self.registry.view.value.members.get(name)
        if member is not None and member.source is Source.AGENT:
            self._granted(name, self.registry.join(member.node))

    @rule(name=NAMES, port=PORTS)
    def an_old_life_tries_to_return(self, name: str, port: int) -> None:
        member = self.registry.view.value.members.get(name)
        if member is None or member.source is not Source.AGENT or member.node.incarnation == 1:
            return
        try:
            self.registry.join(node(name, member.node.incarnation - 1, port))
        except Fenced:
            return
        raise AssertionError("an older life was let in")

    @precondition(lambda self: self.current)
    @rule(data=st.data(), ready=st.booleans(), port=PORTS)
    def changes(self, data: st.DataObject, ready: bool, port: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.current)))
        member = self.registry.view.value.members[name]
        self.revision += 1
        models = (model(),) if ready else ()
        self.current[name].update(node(name, member.node.incarnation, port, revision=self.revision, models=models))

    @precondition(lambda self: self.current)
    @rule(data=st.data())
    def is_heard(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.current)))
        self.current[name].renew()
        assert self.registry.view.value.members[name].phase is not Phase.UNMANAGED

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def a_zombie_speaks(self, data: st.DataObject) -> None:
        zombie = data.draw(st.sampled_from(self.zombies))
        before = self.registry.view.value
        assert isinstance(zombie.outlook.value.ended, Fenced)
        try:
            zombie.renew()
        except Fenced:
            assert self.registry.view.value is before
            zombie.detach()
        else:
            raise AssertionError("a zombie was heard")

    @precondition(lambda self: self.current)
    @rule(data=st.data())
    def stream_breaks(self, data: st.DataObject) -> None:
        self.current[data.draw(st.sampled_from(sorted(self.current)))].detach()

    @rule(seconds=st.integers(1, 8))
    def time_passes(self, seconds: int) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))
        self.registry.expire()
        for name in set(self.current) - set(self.registry.view.value.members):
            self.zombies.append(self.current.pop(name))

    @rule(name=NAMES, drained=st.booleans())
    def is_drained(self, name: str, drained: bool) -> None:
        try:
            member = self.registry.drain(name, drained=drained)
        except NotFound:
            assert name not in self.registry.view.value.members
        else:
            assert not (drained and member.takes_work)

    @rule(name=NAMES, answers=st.booleans())
    def is_probed(self, name: str, answers: bool) -> None:
        member = self.registry.view.value.members.get(name)
        if member is None:
            return
        unattended = {n.node_id for n, _ in self.registry.unattended()}
        if answers:
            self.registry.observe(name, member.node.incarnation, (model(),))
        else:
            self.registry.miss(name, member.node.incarnation, "It does not answer.")
            assert name not in unattended or not self.registry.member(name).takes_work

    @rule(name=NAMES)
    def says_goodbye(self, name: str) -> None:
        member = self.registry.view.value.members.get(name)
        if member is None:
            return
        self.registry.deregister(name, member.node.incarnation)
        if name in self.current:
            self.zombies.append(self.current.pop(name))
        try:
            self.registry.join(member.node)
        except Fenced:
            return
        raise AssertionError("a life that said goodbye came back")

    @rule(name=NAMES, port=PORTS)
    def is_announced(self, name: str, port: int) -> None:
        self.incarnation += 1
        try:
            lease = self.registry.join(node(name, self.incarnation, port), Source.ANNOUNCED, 5, attached=False)
        except AlreadyExists:
            return
        self._granted(name, lease)

    @rule(name=NAMES)
    def is_malformed(self, name: str) -> None:
        before = self.registry.view.value
        try:
            self.registry.join(node(name, 0))
        except InvalidInput:
            assert self.registry.view.value is before

    @invariant()
    def one_endpoint_for_each_address(self) -> None:
        made = plan(self.registry.view.value, RoutingSettings())
        for route in made.models.values():
            addresses = [endpoint.address for endpoint in route.grpc]
            assert len(addresses) == len(set(addresses))
        working = [
            m.node.grpc_address for m in self.registry.view.value.members.values() if m.phase is not Phase.FAILED
        ]
        assert len(working) == len(set(working))

    @invariant()
    def serials_and_revisions_never_go_back(self) -> None:
        view = self.registry.view.value
        assert view.serial >= self.serial
        self.serial = view.serial
        for name, member in view.members.items():
            life = (name, member.node.incarnation)
            assert member.node.revision >= self.revisions.get(life, 0)
            self.revisions[life] = member.node.revision

    @invariant()
    def every_phase_but_serving_has_a_reason(self) -> None:
        for member in self.registry.view.value.members.values():
            assert (member.phase is Phase.SERVING) == (not member.reason)


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHistories = Histories.TestCase
