"""Commitments in the books of both databases."""

from __future__ import annotations

from dataclasses import replace

from inferno_governator.analysis.commitments import Term
from inferno_governator.analysis.items import Purpose
from inferno_governator.store import commitments
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.usage import Facts
from tests.integration.inferno_governator.test_books import DAY, Fleet, Sent, an_hour, clock_at, cost, items


async def test_what_nodes_use_of_a_commitment_and_what_is_unused_are_its_price_in_the_books(
    database_url: str,
) -> None:
    price = 60 * 4_001
    term = Term(DAY + 10, Facts(2 * price, origin="reservation", commitment="r", committed=2 * price), places=2)
    covered = Facts(price=price, region="eu-1", origin="reservation", commitment="r", committed=price)
    clock = clock_at(2000)

    async def unused(start: int, end: int) -> int:
        return sum(item.cost_micros for item in await items(store, start, end) if item.purpose is Purpose.UNUSED)

    async with Store(parse_database(database_url), clock) as store:
        async with store.writing() as connection:
            await commitments.write(connection, {"r": term})
        sent = [replace(each, facts=covered, caller=("red", "k")) for each in an_hour("n", 0)]
        # One comes after ten minutes, for half an hour, and another for twenty seconds.
        await Fleet(store).send(*sent[10:40], Sent("other", 50 * 60, 20, facts=covered))
        for _ in range(2):
            used = 30 * 4_001 + 20 * 4_001 // 60
            assert abs(await unused(0, 60) - (50 * 2 * 4_001 - used)) <= 1
            for start, end in ((0, 60), (0, 3 * 1440), (12, 1440), (10, 11), (5, 40)):
                found = await items(store, start, end)
                lasted = end - max(start, 10)
                assert sum(item.committed_micros for item in found) == cost(found) == lasted * 2 * 4_001
            assert await unused(0, 7) + await unused(7, 61) + await unused(61, 1500) == await unused(0, 1500)
            # The same from the books as from the minutes.
            assert await store.settle()
