"""Random histories of one stream, played against a model client that follows the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from inferno_proxy.publishing.snapshot import Resource, ResourceType, content_version
from inferno_proxy.xds import delta, sotw
from inferno_proxy.xds.order import Answer
from inferno_proxy.xds.subscription import FULL_STATE
from tests.unit.inferno_proxy.xds.peers import BUCKETS, CDS, EDS, LDS, RDS, RTDS, Server, world_of

NAMES = ("a", "b", "c", "d")
TYPES = (CDS, EDS, LDS, RDS, RTDS, BUCKETS)
BAD = "bad"
# More answers than any refusal can cause: each of four names of four types, taken apart twice.
MANY = 100


def bad(resource: Resource) -> bool:
    return resource.body.endswith(BAD.encode())


@dataclass
class Client:
    """A client that refuses an answer with a bad resource as a whole."""

    names: dict[str, set[str]] = field(default_factory=lambda: {EDS: set(), RDS: set(), RTDS: set(), BUCKETS: set()})
    held: dict[str, dict[str, Resource]] = field(default_factory=lambda: {kind: {} for kind in TYPES})

    def take(self, answer: Answer) -> str | None:
        """Apply an answer, or say why not."""
        seen = [resource.name for resource in answer.resources]
        assert len(seen) == len(set(seen)), "the same name twice in one answer"
        if any(map(bad, answer.resources)):
            return "a resource is bad"
        self.apply(answer)
        return None

    def apply(self, answer: Answer) -> None:
        mine = self.held[answer.type]
        mine.update({resource.name: resource for resource in answer.resources})
        for name in answer.removed:
            mine.pop(name, None)

    def forget_unwanted(self, kind: str) -> None:
        if kind in self.names:
            self.held[kind] = {n: r for n, r in self.held[kind].items() if n in self.names[kind]}


class SotwClient(Client):
    def apply(self, answer: Answer) -> None:
        if answer.type in FULL_STATE:
            self.held[answer.type] = {}
        super().apply(answer)
        self.forget_unwanted(answer.type)


contents = st.sampled_from(["1", "2", "3", BAD])
fleets = st.fixed_dictionaries({kind: st.dictionaries(st.sampled_from(NAMES), contents) for kind in TYPES})


class History(RuleBasedStateMachine):
    """Any order of publishing, subscribing, answering and reconnecting."""

    def __init__(self) -> None:
        super().__init__()
        self.serial = 0
        self.client = self.new_client()
        self.unanswered: list[Answer] = []
        self.server = Server(sotw_rules=self.sotw_rules)
        self.fleet: dict[str, dict[str, str]] = {}

    sotw_rules = False

    def new_client(self) -> Client:
        return Client()

    # What differs between the variants.

    def first(self, kind: str) -> delta.Request | sotw.Request:
        held = {n: r.version for n, r in self.client.held[kind].items()}
        return delta.Request(kind, tuple(sorted(self.client.names.get(kind, ()))), held=held)

    def answer_to(self, answer: Answer, error: str | None) -> delta.Request | sotw.Request:
        return delta.Request(answer.type, nonce=answer.nonce, error=error)

    def change(self, kind: str, added: set[str], dropped: set[str]) -> delta.Request | sotw.Request:
        return delta.Request(kind, tuple(sorted(added)), tuple(sorted(dropped)))

    # The history.

    @initialize(fleet=fleets)
    def begin(self, fleet: dict[str, dict[str, str]]) -> None:
        self.publish(fleet)
        self.connect()

    def connect(self) -> None:
        now = self.server.now
        self.server = Server(self.server.snapshot, sotw_rules=self.sotw_rules, now=now)
        self.unanswered = []
        for kind in TYPES:
            self.server.take(self.first(kind))
            self.send()

    @rule()
    def reconnect(self) -> None:
        self.connect()

    @rule(fleet=fleets)
    def publish(self, fleet: dict[str, dict[str, str]]) -> None:
        self.serial += 1
        self.fleet = fleet
        self.server.snapshot = world_of(self.serial, fleet)
        self.send()

    @rule(kind=st.sampled_from([EDS, RDS, RTDS]), names=st.sets(st.sampled_from(NAMES)))
    def want(self, kind: str, names: set[str]) -> None:
        before = self.client.names[kind]
        if names == before:
            return
        self.client.names[kind] = set(names)
        self.client.forget_unwanted(kind)
        self.server.take(self.change(kind, names - before, before - names))
        self.send()

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.server.now += seconds
        self.send()

    @rule(data=st.data())
    def answer_one(self, data: st.DataObject) -> None:
        if self.unanswered:
            self.respond(self.unanswered.pop(data.draw(st.integers(0, len(self.unanswered) - 1))))

    def respond(self, answer: Answer) -> None:
        self.server.take(self.answer_to(answer, self.client.take(answer)))
        self.send()

    def send(self) -> None:
        fresh = self.server.drain()
        assert len(fresh) <= MANY
        self.unanswered += fresh

    @invariant()
    def one_answer_of_a_type_is_in_flight(self) -> None:
        kinds = [answer.type for answer in self.unanswered]
        assert len(kinds) == len(set(kinds))

    @rule()
    def settle(self) -> None:
        """When the client answers everything it ends up with all it may have, after finitely many answers."""
        for _ in range(MANY):
            if not self.unanswered:
                self.server.now += 20.0
                self.send()
                if not self.unanswered:
                    break
            self.respond(self.unanswered.pop(0))
        else:
            raise AssertionError("an endless exchange")
        assert self.server.session.applied == self.serial
        for kind in TYPES:
            self.check(kind)

    def check(self, kind: str) -> None:
        there = self.server.snapshot.resources[ResourceType(kind)]
        wanted = self.client.names.get(kind, set(there))
        held = self.client.held[kind]
        for name in wanted & there.keys():
            if bad(there[name]):
                assert name in self.server.session.subscriptions[kind].refused
            else:
                assert name in held, f"{name} of {kind} is missing"
                assert held[name].version == there[name].version
        for name in wanted - there.keys():
            # Envoy is told of unknown endpoints that they have none; anything else is gone.
            assert name not in held or (kind == EDS and held[name].body == b"\x0a\x01" + name.encode())
        assert kind in self.client.names or held.keys() <= there.keys(), "something gone is still held"
        assert bool(self.server.session.subscriptions[kind].refusal) == any(
            bad(there[n]) for n in wanted & there.keys()
        )

    def teardown(self) -> None:
        if self.serial:
            self.settle()


class SotwHistory(History):
    """The same in the state of the world, where a type that is sent as a whole is refused as a whole."""

    sotw_rules = True

    def new_client(self) -> Client:
        return SotwClient()

    def first(self, kind: str) -> sotw.Request:
        return sotw.Request(kind, tuple(sorted(self.client.names.get(kind, ()))))

    def answer_to(self, answer: Answer, error: str | None) -> sotw.Request:
        names = tuple(sorted(self.client.names.get(answer.type, ())))
        return sotw.Request(answer.type, names, nonce=answer.nonce, version=answer.version, error=error)

    def change(self, kind: str, added: set[str], dropped: set[str]) -> sotw.Request:
        waiting = [a for a in self.unanswered if a.type == kind]
        # The client has not seen the answer in flight, so it still says the nonce before it.
        nonce = "old" if waiting else self.server.session.subscriptions[kind].nonce
        return sotw.Request(kind, tuple(sorted(self.client.names[kind])), nonce=nonce)

    def check(self, kind: str) -> None:
        there = self.server.snapshot.resources[ResourceType(kind)]
        sub = self.server.session.subscriptions[kind]
        if kind in FULL_STATE:
            if any(map(bad, there.values())):
                assert sub.refusal
            else:
                held = {n: r.version for n, r in self.client.held[kind].items()}
                assert held == {n: r.version for n, r in there.items()}
                assert not sub.refusal
            return
        wanted, mine = self.client.names[kind], self.client.held[kind]
        for name in wanted & there.keys():
            if bad(there[name]):
                assert name in sub.refused
            else:
                assert name in mine, f"{name} of {kind} is missing"
                assert mine[name].version == there[name].version


def test_delta_histories_end_with_every_client_up_to_date() -> None:
    run_state_machine_as_test(History, settings=settings(max_examples=150, stateful_step_count=20, deadline=None))


def test_state_of_the_world_histories_end_with_every_client_up_to_date() -> None:
    run_state_machine_as_test(SotwHistory, settings=settings(max_examples=150, stateful_step_count=20, deadline=None))


@given(fleets, fleets)
def test_a_version_follows_from_the_content_and_from_nothing_else(
    one: dict[str, dict[str, str]], other: dict[str, dict[str, str]]
) -> None:
    for kind in map(ResourceType, TYPES):
        first, second = world_of(1, one).resources[kind], world_of(2, other).resources[kind]
        shuffled = dict(sorted(first.items(), reverse=True))
        assert content_version(first) == content_version(shuffled)
        assert (content_version(first) == content_version(second)) == (one[str(kind)] == other[str(kind)])
