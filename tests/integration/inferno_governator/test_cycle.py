"""Ticks on a real database: what they see, write and do in each mode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from inferno_governator import cycle as cycles
from inferno_governator.budgets.keeper import BudgetKeeper
from inferno_governator.cycle import Cycle
from inferno_governator.decisions import record
from inferno_governator.decisions.book import DecisionBook
from inferno_governator.decisions.entry import Draft, Kind
from inferno_governator.decisions.fleet import FleetFacts, NodeState
from inferno_governator.decisions.history import Outcome
from inferno_governator.decisions.intent import Intent
from inferno_governator.decisions.mode import Mode, ModeKeeper
from inferno_governator.decisions.outlook import Outlook
from inferno_governator.decisions.proposal import Proposal, Reason, Verb
from inferno_governator.decisions.record import Record
from inferno_governator.enacting.drains import Drains
from inferno_governator.enacting.enactor import Enactor, Listing
from inferno_governator.forecast.keeper import ForecastKeeper
from inferno_governator.forecast.settings import ForecastSettings
from inferno_governator.metrics import Metrics
from inferno_governator.policies.deciding import DecidingSettings
from inferno_governator.pools.pool import Pool
from inferno_governator.prices.keeper import PriceKeeper
from inferno_governator.prices.rules import Rules
from inferno_governator.providers.provider import Machine, MachineState
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.store.turn import Turn
from inferno_governator.usage import Batch, Facts, SeriesKey, StreamKey
from inferno_governator.watch.objective_keeper import ObjectiveKeeper
from inferno_governator.watch.watcher import Watcher
from inferno_runtime.clock import ManualClock
from inferno_runtime.errors import Unavailable
from tests.waiting import eventually

MICROS = 1_000_000


@dataclass
class Cloud:
    """Machines that are there as soon as they are asked for."""

    name: str = "cloud"
    machines: dict[str, Machine] = field(default_factory=dict)
    away: bool = False

    async def check(self) -> str:
        return "Nothing was done."

    async def start(self, node: str, pool: Pool) -> None:
        self.machines[node] = Machine(node, pool.name, MachineState.RUNNING)

    async def stop(self, node: str) -> None:
        self.machines.pop(node, None)

    async def nodes(self) -> Sequence[Machine]:
        if self.away:
            raise Unavailable("It is away.", reason="AWAY")
        return list(self.machines.values())


class World:
    """A governator's parts that decide, over one store."""

    def __init__(self, store: Store, clock: ManualClock, *, act: bool = True, minimum: int = 1) -> None:
        self.store, self.clock, self.cloud = store, clock, Cloud()
        self.pools = {
            "small": Pool("small", "cloud", ("m",), minimum, 3, micros_per_hour=MICROS, capacity={"m": 10.0}, act=act)
        }
        self.book = DecisionBook(store, clock)
        self.modes = ModeKeeper(self.book, Mode.OBSERVE)
        self.drains = Drains(clock)
        self.blind = False
        budgets = BudgetKeeper(store, clock, [])
        watcher = Watcher(store, clock, Metrics(), budgets, ObjectiveKeeper(store, ()), 60.0)
        prices = PriceKeeper(store, clock, Rules())
        forecasts = ForecastKeeper(store, clock, ForecastSettings())
        self.outlook = Outlook(store, clock, self.pools, prices, budgets, watcher, self.book, forecasts)
        self.enactor = Enactor(self.book, self.pools, {"cloud": self.cloud}, self.drains, clock)
        self.cycle = Cycle(
            self.book,
            self.enactor,
            self.modes,
            self.pools,
            DecidingSettings(),
            self.look,
            self.outlook.measure,
            clock,
        )

    async def tick(self) -> Record:
        """One tick, and what providers were asked for in it."""
        async with self.enactor.calls:
            record = await self.cycle.tick()
            await eventually(lambda: not self.enactor.calls.intents, 60, "the provider has answered")
        return record

    async def look(self, listing: Listing, intents: list[Intent]) -> FleetFacts:
        if self.blind:
            raise ValueError("a figure is odd")
        return await self.outlook.look({}, listing, intents)

    async def heard(self, node: str, requests: int = 0, facts: Facts | None = None) -> None:
        now = int(self.clock.wall() * MICROS)
        point = (now, MICROS, requests, 0, requests, requests, requests * 1000, 0, requests * 1000, 0)
        batch = Batch(StreamKey(node, 1), now, {SeriesKey("model", "m", "1"): [point]}, {}, 1, facts or Facts(5))
        await self.store.commit([batch])

    async def kinds(self) -> list[Kind]:
        return [each.kind for each in reversed(await self.book.entries())]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    async with Store(parse_database(f"sqlite:///{tmp_path / 'g.db'}"), clock) as store:
        yield store


async def test_who_observes_writes_each_finding_once_and_does_nothing(store: Store, clock: ManualClock) -> None:
    world = World(store, clock)
    for _ in range(3):
        found = await world.tick()
        await clock.advance(10)
    assert found.fired == "below_minimum"
    assert await world.kinds() == [Kind.MODE, Kind.DECISION]
    assert world.cloud.machines == {}


async def test_who_advises_waits_for_an_approval(store: Store, clock: ManualClock) -> None:
    world = World(store, clock)
    await world.modes.set(Mode.ADVISE, "operator ada", "try it")
    for _ in range(3):
        await world.tick()
        await clock.advance(10)
    (waiting,) = await world.book.under_way()
    assert waiting.waits
    assert world.cloud.machines == {}
    await world.book.approve([waiting], "operator ada")
    await world.tick()
    assert list(world.cloud.machines) == [waiting.node]


async def test_who_acts_starts_what_is_missing_once_and_sees_it_serve(store: Store, clock: ManualClock) -> None:
    world = World(store, clock)
    await world.modes.set(Mode.ACT, "operator ada", "")
    for _ in range(4):
        await world.tick()
        await clock.advance(10)
    (node,) = world.cloud.machines
    (intent,) = await world.book.under_way()
    assert (intent.node, intent.outcome) == (node, Outcome.CALLED)
    await world.heard(node)
    seen = await world.tick()
    assert [(each.state, each.ours, each.pool) for each in seen.facts.nodes] == [(NodeState.SERVING, True, "small")]
    assert await world.book.under_way() == []
    await clock.advance(4000)
    await world.heard(node)
    await world.tick()
    assert Kind.SAVING in await world.kinds()
    assert (await world.book.verify()).damage is None


async def test_what_a_commitment_has_paid_for_is_not_saved_by_a_stop(store: Store, clock: ManualClock) -> None:
    world = World(store, clock)
    await clock.advance(7200)
    covered = Facts(3600 * 1000, origin="reservation", commitment="r", committed=3600 * 400)
    await world.heard("old", facts=covered)
    await clock.advance(600)
    stop = Proposal(Verb.STOP, "small", Reason.IDLE, "It has nothing to do.", node="old", saves_micros_per_hour=600)
    _, (intent,) = await world.book.decide(Draft(Kind.DECISION, {}, None), [stop], waits=False, real=["small"])
    ended = replace(intent, outcome=Outcome.DONE, ended_micros=int(clock.wall() * MICROS))
    await world.book.advance(intent, ended)
    await clock.advance(4000)
    await world.outlook.measure()
    (entry,) = await world.book.entries(kinds=[Kind.SAVING])
    said = json.loads(entry.content)
    figures = ("billed_hour_before_micros", "committed_hour_before_micros", "billed_hour_after_micros", "saved_micros")
    assert [said[name] for name in figures] == [1000, 400, 0, 600]


async def test_every_decision_is_made_again_from_the_ledger(store: Store, clock: ManualClock) -> None:
    world = World(store, clock)
    await world.modes.set(Mode.ACT, "operator ada", "")
    for requests in (0, 5, 900, 900, 900, 3):
        for node in world.cloud.machines:
            await world.heard(node, requests)
        await world.tick()
        await clock.advance(10)
    decisions = await world.book.entries(kinds=[Kind.DECISION])
    assert decisions
    assert [record.differs(each) for each in decisions] == [""] * len(decisions)


async def test_a_pool_that_does_not_act_is_rehearsed_once(store: Store, clock: ManualClock) -> None:
    world = World(store, clock, act=False)
    await world.modes.set(Mode.ACT, "operator ada", "")
    for _ in range(4):
        await world.tick()
        await clock.advance(10)
    assert world.cloud.machines == {}
    assert await world.kinds() == [Kind.MODE, Kind.DECISION, Kind.OUTCOME]


async def test_a_tick_that_fails_is_written_down_and_the_next_goes_on(store: Store, clock: ManualClock) -> None:
    world = World(store, clock)

    world.blind = True
    running = asyncio.create_task(world.cycle.run(10, Turn(store.address)))
    while await world.kinds() != [Kind.MODE, Kind.FAILURE]:
        await clock.settle()
    world.blind = False
    while Kind.DECISION not in await world.kinds():
        await clock.advance(10)
    running.cancel()
    assert (await world.kinds()).count(Kind.FAILURE) == 1


async def test_the_second_governator_of_a_database_waits_and_takes_over(store: Store, clock: ManualClock) -> None:
    first, second = World(store, clock), World(store, clock)
    await first.modes.set(Mode.ACT, "operator ada", "")

    async def seen(world: World) -> bool:
        await clock.advance(10)
        return bool(world.cloud.machines)

    leading = asyncio.create_task(first.cycle.run(10, Turn(store.address)))
    await eventually(lambda: seen(first), 60, "the first one has started a node")
    following = asyncio.create_task(second.cycle.run(10, Turn(store.address)))
    for _ in range(20):
        await clock.advance(10)
    assert not second.cloud.machines
    leading.cancel()
    await asyncio.wait([leading])
    # Its own cloud has no machine: what is missing is started again.
    await eventually(lambda: seen(second), 60, "the second one has taken over")
    following.cancel()
    await asyncio.wait([following])


async def test_while_a_provider_is_away_nothing_is_asked_of_it(store: Store, clock: ManualClock) -> None:
    world = World(store, clock)
    await world.modes.set(Mode.ACT, "operator ada", "")
    world.cloud.away = True
    for _ in range(3):
        await world.tick()
        await clock.advance(10)
    assert world.cloud.machines == {}


async def test_the_mode_that_was_set_outlives_a_restart_until_the_settings_change(
    store: Store, clock: ManualClock
) -> None:
    world = World(store, clock)
    await world.modes.mode()
    await world.modes.set(Mode.ADVISE, "operator ada", "")
    assert await ModeKeeper(world.book, Mode.OBSERVE).mode() is Mode.ADVISE
    assert await ModeKeeper(world.book, Mode.ACT).mode() is Mode.ACT
    assert await ModeKeeper(world.book, Mode.ACT).mode() is Mode.ACT


def test_what_waits_is_matched_with_what_is_proposed() -> None:
    start = Proposal(Verb.START, "p", Reason.BUDGET, "")
    stop = Proposal(Verb.STOP, "p", Reason.IDLE, "", node="n")
    waiting = Intent(1, 1, Verb.START, Reason.BUDGET, "p", "p-1", waits=True)
    other = Intent(2, 1, Verb.STOP, Reason.IDLE, "p", "other", waits=True)
    assert cycles.unmatched([start, start, stop], [waiting, other]) == ([start, stop], [other])
