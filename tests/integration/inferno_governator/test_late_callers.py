"""Callers that a proxy tells of when the minutes in which they asked are gone."""

from __future__ import annotations

from dataclasses import replace

from inferno_governator.analysis.items import Purpose
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.usage import Batch, StreamKey
from tests.integration.inferno_governator.test_books import KEPT, Fleet, Sent, an_hour, clock_at, cost, items


async def test_callers_of_a_sealed_hour_take_their_part_from_nobody_and_the_bill_stays_the_same(
    database_url: str,
) -> None:
    def told(sequence: int, team: str) -> Batch:
        sent = Sent("n", 600, caller=(team, "k")).batch(sequence)
        return replace(sent, stream=StreamKey("proxy", 1), models={}, devices={})

    async def teams() -> dict[str, tuple[int, ...]]:
        found = await items(store)
        assert cost(found) == 60 * 4000
        return {
            item.team: (item.request_micros, item.requests, item.input_tokens, item.output_tokens)
            for item in found
            if item.purpose is Purpose.WORK
        }

    async with Store(parse_database(database_url), clock_at(3 * 1440)) as store:
        await Fleet(store).send(*an_hour("n", 0))
        await store.settle()
        await store.forget(KEPT)
        # Of 60 minutes of 900 microseconds, 7 requests, 100 tokens read and 200 written each.
        assert await teams() == {"": (54_000, 420, 6_000, 12_000)}
        await store.commit([told(1, "red")])
        red = (450, 3, 30, 60)
        assert await teams() == {"": (53_550, 417, 5_970, 11_940), "red": red}
        # The same once more, after a reconnect.
        assert not (await store.commit([told(1, "red")]))[0].new
        await store.commit([told(2, "blue")])
        for _ in range(2):
            assert await teams() == {"": (53_100, 414, 5_940, 11_880), "red": red, "blue": red}
            await store.settle()
