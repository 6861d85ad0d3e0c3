"""The books of both databases: whatever comes, and in whatever order, they hold what the minutes say."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlmodel import SQLModel

from inferno_governator.analysis.items import Item, Purpose
from inferno_governator.requests import BUCKETS, RequestKey, RequestPoint
from inferno_governator.store.address import parse_database
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.engine import Database
from inferno_governator.store.item_schema import ItemDay, ItemHour, OpenDay, OpenHour
from inferno_governator.store.retention import Retention
from inferno_governator.store.schema import ModelMinute, table
from inferno_governator.store.store import Store
from inferno_governator.usage import Batch, Facts, SeriesKey, StreamKey
from inferno_runtime.clock import ManualClock

MODEL, GPU = SeriesKey("model", "m", "1"), SeriesKey("gpu", "GPU-1", "")
SECOND = 1_000_000
MINUTE = 60 * SECOND
# The first minute of a day.
DAY = 1_700_006_400 // 60
PRICE = Facts(price=60 * 4_000, region="eu-1")
KEPT = Retention(
    raw_micros=60 * MINUTE, minute_micros=1440 * MINUTE, hour_micros=32 * 1440 * MINUTE, day_micros=400 * 1440 * MINUTE
)


@dataclass(frozen=True)
class Sent:
    """What one node sends of one stretch of time: ``at`` and ``seconds`` after the begin of :data:`DAY`."""

    node: str
    at: int
    seconds: int = 60
    life: int = 1
    facts: Facts | None = None
    serves: bool = True
    # Team and key of who asked, as a proxy saw it.
    caller: tuple[str, str] | None = None

    def batch(self, sequence: int) -> Batch:
        end, window = DAY * MINUTE + (self.at + self.seconds) * SECOND, self.seconds * SECOND
        model = (end, window, 7, 1, 8, 3, 900, 300, window // 3, 0)
        return Batch(
            StreamKey(self.node, self.life),
            sequence,
            {MODEL: [model]} if self.serves else {},
            {GPU: [(end, window, window // 4, 1, 2, 3)]},
            2,
            self.facts,
            0,
            end - window,
            end,
            self._requests(end, window),
            tokens={MODEL: [(end, window, 100, 200)]} if self.serves else {},
        )

    def _requests(self, end: int, window: int) -> dict[RequestKey, list[RequestPoint]]:
        if self.caller is None:
            return {}
        histogram = (0,) * (BUCKETS - 1) + (3,)
        return {
            RequestKey(self.node, "m", "1", *self.caller): [
                (end, window, 3, 1, 0, 0, 450, 30, 60, 500, 700, *histogram)
            ]
        }


class Fleet:
    """Numbers what nodes send and stores it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sequences: dict[StreamKey, int] = {}

    async def send(self, *sent: Sent) -> list[Batch]:
        batches = []
        for each in sent:
            key = StreamKey(each.node, each.life)
            self._sequences[key] = self._sequences.get(key, 0) + 1
            batches.append(each.batch(self._sequences[key]))
        await self._store.commit(batches)
        return batches


def clock_at(minutes: float) -> ManualClock:
    """A clock so many minutes after the begin of :data:`DAY`."""
    return ManualClock(wall=(DAY + minutes) * 60)


async def items(store: Store, start: int = 0, end: int = 3 * 1440) -> list[Item]:
    """What is billed from one minute of :data:`DAY` until before another; the database adds it up to the same."""
    asked: list[dict[str, Any]] = [{}, {"together": True}, {"apart": {"model"}}, {"together": True, "apart": {"model"}}]
    async with store.moment() as moment:
        found, together, *by_model = [
            [item async for chunk in moment.items(DAY + start, DAY + end, **each) for item in chunk] for each in asked
        ]
    assert bill(together) == bill(found)
    models = [bill(item._replace(node="", version="", team="", key="") for item in each) for each in (found, *by_model)]
    assert models[0] == models[1] == models[2]
    return found


def bill(found: Iterable[Item]) -> dict[tuple[object, ...], tuple[int, ...]]:
    """Items added up, whatever their stretches."""
    sums: dict[tuple[object, ...], tuple[int, ...]] = {}
    for item in found:
        key, counts = item[2:9], item[9:]
        sums[key] = tuple(a + b for a, b in zip(sums[key], counts, strict=True)) if key in sums else counts
    return {key: counts for key, counts in sums.items() if any(counts)}


def cost(found: Iterable[Item]) -> int:
    return sum(item.cost_micros for item in found)


def lengths(found: Iterable[Item]) -> list[int]:
    return sorted({item.minutes for item in found})


async def count(url: str, model: type[SQLModel]) -> int:
    database = Database(parse_database(url), 5)
    async with database.read() as connection:
        found = (await connection.execute(select(func.count()).select_from(table(model)))).scalar_one()
    await database.close()
    return found


def an_hour(node: str, hour: int, minutes: int = 60) -> list[Sent]:
    return [Sent(node, (hour * 60 + minute) * 60, facts=PRICE) for minute in range(minutes)]


async def test_an_hour_and_a_day_are_settled_once_they_are_over_and_the_bill_stays_the_same(database_url: str) -> None:
    clock = clock_at(64)
    async with Store(parse_database(database_url), clock) as store:
        await Fleet(store).send(*an_hour("n", 0), Sent("n", 3600))
        before = bill(await items(store))
        assert await store.settle()
        assert lengths(await items(store)) == [1, 55]
        assert bill(await items(store)) == before
        clock.jump_wall(60)
        await store.settle()
        assert lengths(await items(store)) == [1, 60]
        assert bill(await items(store)) == before
        clock.jump_wall(86_400)
        await store.settle()
        found = await items(store)
        assert [(item.start_minute, item.minutes) for item in found] == [(DAY, 1440)] * 2
        assert bill(found) == before
        assert await count(database_url, OpenHour) == await count(database_url, OpenDay) == 0
        assert cost(found) == 61 * 4000


async def test_what_comes_late_is_in_the_bill_at_once_and_opens_its_hour_for_its_node_alone(database_url: str) -> None:
    clock = clock_at(2000)
    async with Store(parse_database(database_url), clock) as store:
        fleet = Fleet(store)
        await fleet.send(*an_hour("a", 0, 30), *an_hour("b", 0, 30))
        await store.settle()
        late = await fleet.send(*(Sent("a", (30 + minute) * 60) for minute in range(30)))
        assert cost(await items(store)) == (60 + 30) * 4000
        assert await count(database_url, OpenHour) == await count(database_url, OpenDay) == 1
        await store.settle()
        assert cost(await items(store)) == (60 + 30) * 4000
        # The same once more, after a reconnect.
        await store.commit(late)
        assert await count(database_url, OpenDay) == 0
        assert cost(await items(store)) == (60 + 30) * 4000


async def test_minutes_are_deleted_only_once_their_hour_holds_them_and_hours_once_their_day_does(
    database_url: str,
) -> None:
    clock = clock_at(60 + 4)
    async with Store(parse_database(database_url), clock) as store:
        await Fleet(store).send(*an_hour("n", 0))
        before = bill(await items(store))
        clock.jump_wall(40 * 86_400)
        await store.forget(KEPT)
        assert await count(database_url, ModelMinute) == await count(database_url, DeviceMinute) == 60
        await store.settle()
        await store.forget(KEPT)
        tables = (ModelMinute, DeviceMinute, ItemHour, ItemDay)
        assert [await count(database_url, model) for model in tables] == [0, 0, 0, 2]
        assert bill(await items(store)) == before
        clock.jump_wall(400 * 86_400)
        await store.forget(KEPT)
        assert await items(store) == []


async def test_days_of_which_nobody_asks_when_they_were_are_one_item_of_a_kind(database_url: str) -> None:
    async with Store(parse_database(database_url), clock_at(4 * 1440)) as store:
        await Fleet(store).send(*an_hour("n", 0), *an_hour("n", 30), *an_hour("n", 50, 1))
        await store.settle()
        async with store.moment() as moment:
            found = [item async for chunk in moment.items(DAY, DAY + 3 * 1440, together=True) for item in chunk]
        assert [(item.start_minute, item.minutes, item.purpose) for item in found] == [
            (DAY, 3 * 1440, Purpose.WORK),
            (DAY, 3 * 1440, Purpose.IDLE),
        ]
        assert cost(found) == 121 * 4000


async def test_what_comes_for_a_sealed_hour_is_billed_and_added(database_url: str) -> None:
    clock = clock_at(3 * 1440)
    async with Store(parse_database(database_url), clock) as store:
        fleet = Fleet(store)
        await fleet.send(*an_hour("n", 0, 30))
        await store.settle()
        await store.forget(KEPT)
        await fleet.send(*(Sent("n", (30 + minute) * 60) for minute in range(30)), Sent("new", 0, facts=PRICE))
        assert await count(database_url, ModelMinute) == 0
        assert cost(await items(store)) == 61 * 4000
        await store.settle()
        assert cost(await items(store)) == 61 * 4000
        assert lengths(await items(store)) == [1440]


async def test_part_of_what_has_no_minutes_left_is_a_share_and_shares_add_up(database_url: str) -> None:
    clock = clock_at(4 * 1440)
    async with Store(parse_database(database_url), clock) as store:
        await Fleet(store).send(*an_hour("n", 0), *an_hour("n", 1, 30))
        whole = bill(await items(store))
        await store.settle()
        await store.forget(KEPT)
        for at in (7, 60, 61, 1440):
            parts = [*await items(store, 0, at), *await items(store, at)]
            assert bill(parts) == whole
        found = await items(store, 30, 61)
        assert sorted((item.start_minute - DAY, item.minutes) for item in found) == [(30, 30)] * 2 + [(60, 1)] * 2
        # A minute of work and one of idleness, each rounded down.
        assert 30 * 4000 + 30 * 4000 // 60 - 2 < cost(found) <= 30 * 4000 + 30 * 4000 // 60


async def test_a_price_that_is_learnt_later_bills_the_hours_since_anew(database_url: str) -> None:
    clock = clock_at(2000)
    async with Store(parse_database(database_url), clock) as store:
        fleet = Fleet(store)
        await fleet.send(*(replace(each, facts=None) for each in an_hour("n", 0)))
        await store.settle()
        assert cost(await items(store)) == 0
        await fleet.send(Sent("n", 30 * 60, facts=PRICE, life=2))
        await store.settle()
        assert lengths(await items(store)) == [1440]
        assert cost(await items(store)) == 30 * 4000
        assert {item.facts.price for item in await items(store)} == {0, PRICE.price}


async def test_silence_within_a_life_is_overhead_and_between_lives_is_not_billed(database_url: str) -> None:
    async with Store(parse_database(database_url), clock_at(600)) as store:
        fleet = Fleet(store)
        await fleet.send(Sent("n", 0, facts=PRICE), Sent("n", 600))
        await fleet.send(Sent("n", 1800, life=2))
        assert {(item.purpose, item.start_minute - DAY) for item in await items(store) if not item.model} == {
            *((Purpose.IDLE, minute) for minute in (0, 10, 30)),
            *((Purpose.OVERHEAD, minute) for minute in range(1, 10)),
        }
        await store.settle()
        assert cost(await items(store)) == 12 * 4000


def at(seconds: int) -> int:
    """Nanoseconds of Unix time so many seconds after the begin of :data:`DAY`."""
    return (DAY * 60 + seconds) * 10**9


async def test_the_start_of_a_node_is_overhead_until_its_first_model_is_there(database_url: str) -> None:
    async with Store(parse_database(database_url), clock_at(600)) as store:
        starting = Sent("n", 120, life=at(0), facts=replace(PRICE), serves=False)
        await Fleet(store).send(Sent("n", 0, life=1, facts=PRICE), starting, replace(starting, at=180, serves=True))
        found = [item for item in await items(store) if item.start_minute >= DAY + 1]
        assert [(item.purpose, item.start_minute - DAY) for item in found] == [
            (Purpose.OVERHEAD, 1),
            (Purpose.OVERHEAD, 2),
            (Purpose.WORK, 3),
            (Purpose.IDLE, 3),
        ]


async def test_the_start_of_a_node_is_billed_at_its_price_also_over_the_end_of_a_minute(database_url: str) -> None:
    async with Store(parse_database(database_url), clock_at(600)) as store:
        # It began 50 s after the hour, and sent its first second 20 s later.
        await Fleet(store).send(Sent("n", 70, 10, life=at(50), facts=PRICE))
        found = await items(store)
        assert [(item.purpose, item.start_minute - DAY, item.paid_micros // SECOND) for item in found] == [
            (Purpose.OVERHEAD, 0, 10),
            (Purpose.WORK, 1, 3),
            (Purpose.IDLE, 1, 6),
            (Purpose.OVERHEAD, 1, 10),
        ]
        assert abs(cost(found) - 30 * 4000 // 60) <= 2


async def test_work_is_shared_among_callers_also_when_their_proxy_tells_of_them_late(database_url: str) -> None:
    async with Store(parse_database(database_url), clock_at(600)) as store:
        fleet = Fleet(store)
        await fleet.send(*an_hour("n", 0))
        await store.settle()
        late = replace(
            Sent("n", 600, caller=("red", "k")).batch(1), stream=StreamKey("proxy", 1), models={}, devices={}
        )
        await store.commit([late])
        for _ in range(2):
            found = await items(store)
            assert cost(found) == 60 * 4000
            [red] = [item for item in found if item.team]
            assert (red.team, red.key, red.model, red.version) == ("red", "k", "m", "1")
            # Half of the 900 microseconds that the node's requests took in that minute, and 3 of its 7 requests.
            assert (red.request_micros, red.paid_micros, red.requests) == (450, MINUTE // 3 // 2, 3)
            assert (red.input_tokens, red.output_tokens) == (30, 60)
            assert await store.settle()


def _groups(seconds: int, minutes: int) -> st.SearchStrategy[list[tuple[list[Sent], int]]]:
    """What is sent of so many seconds, and how many minutes go by after each time."""
    sent = st.builds(
        Sent,
        node=st.sampled_from(["a", "b"]),
        at=st.integers(0, seconds - 1),
        seconds=st.sampled_from([1, 60, 600]),
        life=st.integers(1, 2),
        facts=st.one_of(st.none(), st.builds(Facts, price=st.integers(0, 10**9))),
        serves=st.booleans(),
        caller=st.sampled_from([None, ("red", "k"), ("blue", "k")]),
    )
    return st.lists(st.tuples(st.lists(sent, min_size=1, max_size=4), st.integers(0, minutes)), max_size=6)


async def _play(url: str, groups: Sequence[tuple[list[Sent], int]], cuts: tuple[int, int]) -> None:
    """Store the same in two databases, one of which settles whenever time has passed."""
    clock = clock_at(0)
    async with (
        Store(parse_database(f"{url}-settled"), clock) as settled,
        Store(parse_database(f"{url}-open"), clock) as left_open,
    ):
        one, other = Fleet(settled), Fleet(left_open)
        for sent, minutes in groups:
            batches = await one.send(*sent)
            await other.send(*sent)
            clock.jump_wall(60 * minutes)
            await settled.settle()
            await settled.commit(batches)
        for start, end in ((0, 3 * 1440), cuts):
            assert bill(await items(settled, start, end)) == bill(await items(left_open, start, end))


@settings(max_examples=10, deadline=None)
@given(_groups(2 * 86_400, 1000), st.tuples(st.integers(0, 1500), st.integers(1501, 3000)))
def test_books_that_are_settled_at_any_time_hold_what_the_minutes_hold(
    groups: list[tuple[list[Sent], int]], cuts: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(f"sqlite:///{Path(folder) / 'books'}", groups, cuts))


@settings(max_examples=30, deadline=None)
@given(_groups(7200, 30), st.tuples(st.integers(0, 90), st.integers(91, 180)))
def test_hours_that_are_settled_a_few_minutes_at_a_time_hold_what_their_minutes_hold(
    groups: list[tuple[list[Sent], int]], cuts: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(f"sqlite:///{Path(folder) / 'books'}", groups, cuts))


def test_what_is_stored_of_an_item_are_its_sums() -> None:
    from inferno_governator.store.items import SUMS

    assert tuple(SUMS) == Item._fields[-len(SUMS) :]
    assert SUMS[0] == "paid_micros"
