"""Settling: an hour that lasts, a few minutes at a time, and much at once in short transactions."""

from __future__ import annotations

from inferno_governator.store.address import parse_database
from inferno_governator.store.item_schema import OpenDay, OpenHour
from inferno_governator.store.store import Store
from tests.integration.inferno_governator.test_books import (
    Fleet,
    Sent,
    an_hour,
    bill,
    clock_at,
    cost,
    count,
    items,
    lengths,
)


async def test_what_is_settled_of_an_hour_that_lasts_is_not_made_from_its_minutes_again(database_url: str) -> None:
    clock = clock_at(31)
    async with Store(parse_database(database_url), clock) as store:
        fleet = Fleet(store)
        await fleet.send(*an_hour("a", 0, 31), *an_hour("b", 0, 31))
        before = bill(await items(store))
        await store.settle()
        assert lengths(await items(store)) == [1, 25]
        assert lengths(await items(store, 0, 25)) == [25]
        assert lengths(await items(store, 0, 24)) == [1]
        assert bill(await items(store)) == before
        # What comes late opens what is settled of its node, a minute that is not settled nothing.
        await fleet.send(Sent("a", 24 * 60, 10), Sent("b", 25 * 60, 10))
        found = await items(store, 0, 25)
        assert [sorted({each.minutes for each in found if each.node == node}) for node in "ab"] == [[1], [25]]
        clock.jump_wall(5 * 60)
        await store.settle()
        assert lengths(await items(store)) == [1, 30]
        assert cost(await items(store)) == 2 * 31 * 4000


async def test_settling_much_is_cut_into_short_transactions_and_goes_on_where_it_ended(sqlite_url: str) -> None:
    async with Store(parse_database(sqlite_url), clock_at(4000)) as store:
        await Fleet(store).send(*(sent for hour in range(12) for sent in an_hour("n", hour)))
        before = bill(await items(store))
        rounds = 0
        while not await store.settle(most=5):
            rounds += 1
            assert bill(await items(store)) == before
        assert rounds == 2
        assert await count(sqlite_url, OpenHour) == await count(sqlite_url, OpenDay) == 0
        assert bill(await items(store)) == before
