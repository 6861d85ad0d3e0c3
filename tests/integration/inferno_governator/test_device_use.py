"""How devices were used and how they were, in both databases: the same from minutes, hours and days."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from inferno_governator.analysis.device_use import DeviceTotal
from inferno_governator.analysis.periods import Period
from inferno_governator.billing import report
from inferno_governator.store.address import parse_database
from inferno_governator.store.device_schema import DeviceDay, DeviceHour, DeviceMinute
from inferno_governator.store.store import Store
from inferno_governator.usage import Batch, StatePoint
from tests.integration.inferno_governator.test_books import (
    DAY,
    GPU,
    KEPT,
    MINUTE,
    PRICE,
    Fleet,
    Sent,
    an_hour,
    clock_at,
    count,
)


class Warm(Sent):
    """What a node sends whose GPU also says how it is."""

    def __init__(self, node: str, minute: int, *, celsius: int = 60, ecc: int = -1, xids: int = 0) -> None:
        super().__init__(node, minute * 60, facts=PRICE)
        object.__setattr__(self, "state", (celsius, ecc, xids))

    def batch(self, sequence: int) -> Batch:
        made = super().batch(sequence)
        celsius, ecc, xids = self.state  # type: ignore[attr-defined]
        [(end, window, *_)] = made.devices[GPU]
        millis = window // 1000
        point: StatePoint = (
            *(end, window, millis, celsius * millis, millis, 1_500 * millis, millis // 2, millis // 4, xids),
            *(700_000, celsius, ecc, ecc),
        )
        return replace(made, states={GPU: [point]})


async def devices(store: Store, start: int = 0, end: int = 3 * 1440) -> list[DeviceTotal]:
    async with store.moment() as moment:
        return await moment.devices(DAY + start, DAY + end)


async def test_the_use_of_a_device_is_the_same_from_minutes_hours_and_days_and_outlives_them(database_url: str) -> None:
    clock = clock_at(60)
    async with Store(parse_database(database_url), clock) as store:
        fleet = Fleet(store)
        await fleet.send(*(Warm("n", at, celsius=40 + at) for at in range(60)), *an_hour("other", 1))
        before = await devices(store)
        used = before[0]
        assert [each.node for each in before] == ["n", "other"]
        assert (used.window_micros, used.busy_micros, used.known_micros) == (60 * MINUTE, 15 * MINUTE, 60 * MINUTE)
        assert (used.energy_millijoules, used.max_power_milliwatts, used.max_celsius) == (180, 700_000, 99)
        assert (used.mean_celsius, used.mean_mhz, used.utilization) == (69.5, 1_500, 0.25)
        assert (used.slowed_millis, used.hot_millis) == (30 * 60_000, 15 * 60_000)
        assert (before[1].mean_celsius, before[1].mean_mhz) == (None, None)
        clock.jump_wall(10 * 60)
        await store.settle()
        assert [await count(database_url, each) for each in (DeviceHour, DeviceDay)] == [1, 0]
        assert await devices(store) == before
        clock.jump_wall(3 * 86_400)
        await store.settle()
        await store.forget(KEPT)
        assert [await count(database_url, each) for each in (DeviceMinute, DeviceHour, DeviceDay)] == [0, 2, 2]
        assert await devices(store) == before
        # A part of an hour whose minutes are gone is its share.
        assert (await devices(store, 0, 15))[0].busy_micros == used.busy_micros // 4
        clock.jump_wall(40 * 86_400)
        await store.forget(KEPT)
        assert [await count(database_url, each) for each in (DeviceHour, DeviceDay)] == [0, 2]
        assert await devices(store) == before


async def test_the_bill_tells_how_busy_devices_were_and_their_energy_as_far_back_as_it_reaches(
    database_url: str,
) -> None:
    clock = clock_at(60)
    async with Store(parse_database(database_url), clock) as store:
        await Fleet(store).send(*an_hour("n", 0))
        clock.jump_wall(40 * 86_400)
        await store.settle()
        await store.forget(KEPT)
        idle, _ = (await report(store, Period(DAY, DAY + 1440))).lines
    assert (idle.utilization, idle.energy_millijoules) == (0.25, 180)


async def test_what_comes_late_is_counted_in_its_hour_and_day(database_url: str) -> None:
    clock = clock_at(2000)
    async with Store(parse_database(database_url), clock) as store:
        fleet = Fleet(store)
        await fleet.send(*(Warm("n", at) for at in range(30)))
        await store.settle()
        await fleet.send(*(Warm("n", at) for at in range(30, 60)))
        assert (await devices(store))[0].busy_micros == 15 * MINUTE
        clock.jump_wall(2 * 86_400)
        await store.settle()
        await store.forget(KEPT)
        # Its minutes are sealed by now.
        await fleet.send(*(Warm("n", 60 + at, celsius=90) for at in range(4)), *(Warm("new", at) for at in range(4)))
        await fleet.send(Warm("n", 59, celsius=95))
        assert await count(database_url, DeviceMinute) == 0
        found = await devices(store)
        assert [(each.busy_micros, each.max_celsius) for each in found] == [(65 * MINUTE // 4, 95), (MINUTE, 60)]
        await store.settle()
        assert await devices(store) == found


async def test_memory_errors_are_what_the_drivers_counter_grew_by_and_it_may_begin_again(database_url: str) -> None:
    clock = clock_at(200)
    seen = {58: 7, 59: 9, 60: 9, 61: 12, 62: 2, 63: -1, 64: 2, 65: 3}
    async with Store(parse_database(database_url), clock) as store:
        await Fleet(store).send(*(Warm("n", at, ecc=ecc, xids=at % 2) for at, ecc in seen.items()))
        await store.settle()
        first, second = (await devices(store, 0, 60))[0], (await devices(store, 60, 120))[0]
        assert (first.ecc_corrected, second.ecc_corrected) == (2, 3 + 2 + 1)
        assert (first.xids, second.xids) == (1, 3)
        clock.jump_wall(86_400)
        await store.settle()
        whole = (await devices(store))[0]
        assert (whole.ecc_corrected, whole.ecc_uncorrected, whole.xids) == (8, 8, 4)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2900), st.integers(1, 90), st.booleans()), min_size=1, max_size=12))
def test_whatever_comes_when_the_settled_use_is_the_sum_of_its_samples(sent: list[tuple[int, int, bool]]) -> None:
    async def play(url: str) -> None:
        async with Store(parse_database(url), clock_at(2990)) as store:
            fleet, busy = Fleet(store), 0
            for minute, seconds, settle in sent:
                [made] = await fleet.send(Sent("n", minute * 60, seconds))
                busy += made.devices[GPU][0][2]
                if settle:
                    await store.settle()
                    await store.forget(replace(KEPT, minute_micros=300 * MINUTE))
                [found] = await devices(store)
                assert found.busy_micros == busy

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(f"sqlite:///{folder}/governator.db"))
