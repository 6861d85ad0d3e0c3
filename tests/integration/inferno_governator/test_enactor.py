"""Intents are carried out once, wherever the governator is killed and however often it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.entry import Draft, Kind
from inferno_governator.decisions.fleet import FleetFacts, NodeFacts, NodeState, PoolFacts
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.enacting.drains import Drained, Drains
from inferno_governator.enacting.enactor import Enactor
from inferno_governator.pools.pool import Pool
from inferno_governator.providers.provider import Machine, MachineState
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Denied, Exhausted, InfernoError, Unavailable
from tests.waiting import eventually

POOL = Pool("small", "cloud", ("m",), maximum=5, act=True)
FACTS = PoolFacts("small", "cloud", ("m",), 1_000_000, 60.0, maximum=5)
START = Proposal(Verb.START, "small", Reason.OBJECTIVE_AT_RISK, "More is asked for.")
STOP = Proposal(Verb.STOP, "small", Reason.IDLE, "It has nothing to do.", node="small-old")


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Cloud:
    """A provider in memory that forgets nothing, is told twice what it is told twice, and shows a machine only after
    ``late`` seconds. ``dies`` is where the caller is killed: before the call arrives, or after."""

    clock: ManualClock
    name: str = "cloud"
    late: float = 0.0
    dies: str = ""
    refuses: Exception | None = None
    # Until it is set, calls take as long as they like.
    answers: asyncio.Event | None = None
    starts: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    born: dict[str, float] = field(default_factory=dict)

    async def check(self) -> str:
        return "It could."

    async def start(self, node: str, pool: Pool) -> None:
        self._die("before")
        if self.answers:
            await self.answers.wait()
        if self.refuses:
            raise self.refuses
        self.starts.append(node)
        self.born[node] = self.clock.monotonic()
        self._die("after")

    async def stop(self, node: str) -> None:
        self._die("before")
        self.stops.append(node)
        self.born.pop(node, None)
        self._die("after")

    async def nodes(self) -> Sequence[Machine]:
        seen = [node for node, at in self.born.items() if self.clock.monotonic() - at >= self.late]
        return [Machine(node, "small", MachineState.RUNNING) for node in seen]

    def _die(self, where: str) -> None:
        if self.dies == where:
            self.dies = ""
            raise Killed


class Dying(DecisionBook):
    """A book whose owner is killed after so many writes, or just before the next one."""

    writes = 0
    dies_at = -1

    async def advance(self, before: Intent, after: Intent, **more: object) -> Intent | None:
        if Dying.dies_at == 2 * Dying.writes:
            Dying.dies_at = -1
            raise Killed
        written = await super().advance(before, after, **more)
        Dying.writes += 1
        if Dying.dies_at == 2 * Dying.writes - 1:
            Dying.dies_at = -1
            raise Killed
        return written


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    async with Store(parse_database(sqlite_url), ManualClock()) as store:
        yield store


@pytest.fixture
async def each_store(database_url: str) -> AsyncIterator[Store]:
    """In each database in turn."""
    async with Store(parse_database(database_url), ManualClock()) as store:
        yield store


class Life:
    """A governator's life after life, over one store, one cloud and one proxy."""

    def __init__(self, store: Store, clock: ManualClock, cloud: Cloud) -> None:
        self.store, self.clock, self.cloud = store, clock, cloud
        Dying.writes, Dying.dies_at = 0, -1
        # What the proxy has under way on the node that is stopped.
        self.in_flight = 0
        self.deaths = 0
        self.begin()

    def begin(self) -> None:
        self.drains = Drains(self.clock)
        self.book = Dying(self.store, self.clock)
        self.enactor = Enactor(self.book, {"small": POOL}, {"cloud": self.cloud}, self.drains, self.clock)

    async def decide(self, proposal: Proposal) -> Intent:
        _, (intent,) = await self.book.decide(Draft(Kind.DECISION, {}, None), [proposal], waits=False, real=["small"])
        return intent

    async def tick(self) -> None:
        """One tick; whoever is killed in it begins anew."""
        try:
            async with self.enactor.calls:
                listing = await self.enactor.listing()
                await self.enactor.act(facts(listing.machines), listing)
                await eventually(lambda: not self.enactor.calls.intents, 60, "the provider has answered")
        except* Killed:
            self.deaths += 1
            self.begin()
        await self.clock.advance(1.0)
        if self.drains.wishes is not None:
            told = Drained(known=True, drained=True, in_flight=self.in_flight)
            self.drains.hear("proxy", {each.node: told for each in self.drains.wishes})

    async def run(self, ticks: int = 200) -> Intent:
        for _ in range(ticks):
            await self.tick()
            (intent,) = await self.book.of_decision(1)
            if intent.ended_micros:
                break
        return intent


def facts(machines: object) -> FleetFacts:
    names = sorted({*machines, "small-a"})  # type: ignore[misc]
    nodes = tuple(NodeFacts(name, "small", NodeState.SERVING, ("m",), 0.0, 1, ours=True) for name in names)
    return FleetFacts(1.0, nodes, (), (FACTS,))


DEATHS = [("cloud", "before"), ("cloud", "after"), *(("book", at) for at in range(8))]


def doom(life: Life, death: tuple[str, object]) -> None:
    if death[0] == "cloud":
        life.cloud.dies = str(death[1])
    else:
        assert isinstance(death[1], int)
        Dying.dies_at = death[1]


@pytest.mark.parametrize("late", [0.0, 30.0])
@pytest.mark.parametrize("death", DEATHS)
async def test_a_start_is_one_machine_wherever_the_governator_is_killed(
    store: Store, death: tuple[str, object], late: float
) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock, late=late))
    intent = await life.decide(START)
    doom(life, death)
    ended = await life.run()
    assert ended.outcome is Outcome.DONE
    assert life.cloud.starts == [intent.node]
    assert (await life.book.verify()).damage is None


@pytest.mark.parametrize("death", DEATHS)
async def test_a_stop_is_one_call_after_the_drain_wherever_the_governator_is_killed(
    store: Store, death: tuple[str, object]
) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock))
    life.cloud.born["small-old"] = 0.0
    life.in_flight = 3
    await life.decide(STOP)
    doom(life, death)
    for _ in range(20):
        await life.tick()
    assert life.cloud.stops == []
    life.in_flight = 0
    ended = await life.run()
    assert ended.outcome is Outcome.DONE
    assert life.cloud.stops == ["small-old"]


@pytest.mark.parametrize("proposal", [START, STOP])
async def test_a_hundred_deaths_start_or_stop_one_machine(each_store: Store, proposal: Proposal) -> None:
    clock = ManualClock()
    life = Life(each_store, clock, Cloud(clock, late=45.0))
    if proposal is STOP:
        life.cloud.born["small-old"] = -100.0
    intent = await life.decide(proposal)
    for number in range(100):
        life.cloud.dies = "after" if number % 2 else "before"
        Dying.dies_at = 2 * Dying.writes + number % 2
        await life.tick()
        if number % 7 == 0:
            life.begin()
    life.cloud.dies, Dying.dies_at = "", -1
    await life.run()
    assert [*life.cloud.starts, *life.cloud.stops] == [intent.node]
    assert life.deaths
    assert (await life.book.verify()).damage is None


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Exhausted("None left.", reason="NO_CAPACITY"), Outcome.FAILED),
        (Denied("You may not.", reason="FORBIDDEN"), Outcome.FAILED),
        (Unavailable("Away.", reason="AWAY"), Outcome.FAILED),
    ],
)
async def test_a_refusal_is_told_and_nothing_started(store: Store, error: InfernoError, outcome: Outcome) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock, refuses=error))
    await life.decide(START)
    ended = await life.run(400)
    assert ended.outcome is outcome
    assert life.cloud.starts == []
    assert ended.calls == (3 if error.temporary and not isinstance(error, Exhausted) else 1)


async def test_a_call_that_takes_long_is_made_once_and_holds_nothing_up(store: Store) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock, answers=asyncio.Event()))
    assert life.cloud.answers is not None
    slow = await life.decide(START)
    async with life.enactor.calls:
        for _ in range(5):
            listing = await life.enactor.listing()
            await life.enactor.act(facts(listing.machines), listing)
            await clock.advance(30.0)
            assert life.enactor.calls.intents == {slow.number}
        await life.book.decide(Draft(Kind.DECISION, {}, None), [START], waits=False, real=[])
        await life.enactor.act(facts({}), listing)

        async def rehearsed() -> bool:
            return [each.number for each in await life.book.under_way()] == [slow.number]

        await eventually(rehearsed, 60, "another intent has ended meanwhile")
        life.cloud.answers.set()
        await eventually(lambda: not life.enactor.calls.intents, 60, "the provider has answered")
    assert life.cloud.starts == [slow.node]
    assert (await life.run()).calls == 1


async def test_a_call_that_a_shutdown_breaks_off_is_settled_in_the_next_life(store: Store) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock, answers=asyncio.Event()))
    intent = await life.decide(START)
    async with life.enactor.calls:
        listing = await life.enactor.listing()
        await life.enactor.act(facts(listing.machines), listing)
    assert life.enactor.calls.intents == set()
    life.cloud.answers = None
    life.begin()
    ended = await life.run()
    assert (ended.outcome, ended.calls, life.cloud.starts) == (Outcome.DONE, 2, [intent.node])


async def test_a_call_that_breaks_is_told_once_and_ends_nothing_else(store: Store) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock, answers=asyncio.Event(), refuses=ValueError("an odd answer")))
    assert life.cloud.answers is not None
    await life.decide(START)
    async with life.enactor.calls:
        listing = await life.enactor.listing()
        await life.enactor.act(facts({}), listing)
        life.cloud.answers.set()
        await eventually(lambda: not life.enactor.calls.intents, 60, "the provider has answered")
        with pytest.raises(ValueError, match="an odd answer"):
            await life.enactor.act(facts({}), listing)
        await life.enactor.act(facts({}), listing)


async def test_a_node_that_does_not_become_empty_stays(store: Store) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock))
    life.cloud.born["small-old"] = 0.0
    life.in_flight = 1
    await life.decide(STOP)
    ended = await life.run(400)
    assert ended.outcome is Outcome.WITHDRAWN
    assert "1 calls under way through proxy proxy" in ended.sentence
    assert life.cloud.stops == []
    await life.tick()
    assert life.drains.wishes == []


async def test_what_is_not_ours_is_never_stopped(store: Store) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock))
    life.cloud.born["small-old"] = 0.0
    await life.decide(replace(STOP, pool="small"))
    listing = await life.enactor.listing()
    theirs = facts(listing.machines)
    theirs = replace(theirs, nodes=tuple(replace(each, ours=False) for each in theirs.nodes))
    await life.enactor.act(theirs, listing)
    (intent,) = await life.book.of_decision(1)
    assert (intent.outcome, life.cloud.stops) == (Outcome.WITHDRAWN, [])


async def test_a_pool_that_does_not_act_is_rehearsed(store: Store) -> None:
    clock = ManualClock()
    life = Life(store, clock, Cloud(clock))
    await life.book.decide(Draft(Kind.DECISION, {}, None), [START], waits=False, real=[])
    ended = await life.run(5)
    assert ended.outcome is Outcome.DONE
    assert "Rehearsed" in ended.sentence
    assert life.cloud.starts == []
