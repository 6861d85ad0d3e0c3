"""What proxies count, on both databases: every level, and what is read of it."""

from __future__ import annotations

from inferno_governator.requests import RequestKey, RequestUse
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_governator.usage import Batch, StreamKey
from inferno_runtime.clock import ManualClock

SECOND = 1_000_000
MINUTE = 60 * SECOND
# A midnight.
DAY = 28_800_000 // 1440 * 1440
ONE = RequestKey("n", "m", "1", "search", "search-ci")
TWO = RequestKey("", "m", "", "", "")


def batch(sequence: int, minute: int, **counts: int) -> Batch:
    """Counts of ONE and one refusal of TWO, in a minute."""
    end = minute * MINUTE + 5 * SECOND
    good = counts.get("requests", 0)
    histogram = (0, good, *[0] * 14)
    point = (end, SECOND, good, counts.get("client_errors", 0), 0, 0, 100 * good, 7, 8, 9, 10, *histogram)
    refused = (end, SECOND, 0, 0, 1, *[0] * 22)
    return Batch(
        StreamKey("proxy", 1), sequence, {}, {}, 2, last_micros=end, requests={ONE: [point, point], TWO: [refused]}
    )


async def read(store: Store, start: int, end: int) -> list[RequestUse]:
    async with store.moment() as moment:
        found = [use async for chunk in moment.requests(start, end) for use in chunk]
    # In order of time; within a stretch, those with a key first.
    assert found == sorted(found, key=lambda use: use.start_minute)
    return sorted(found, key=lambda use: (use.start_minute, not use.key))


async def test_requests_are_added_to_their_minute_hour_and_day(database_url: str) -> None:
    clock = ManualClock(wall=(DAY + 3000) * 60.0)
    async with Store(parse_database(database_url), clock) as store:
        minutes = [DAY - 1, DAY, DAY + 1, DAY + 59, DAY + 60, DAY + 1439, DAY + 1440]
        batches = [batch(number, minute, requests=3) for number, minute in enumerate(minutes, 1)]
        await store.commit(batches[:4])
        await store.commit(batches[4:])
        # One that comes again changes nothing.
        assert not (await store.commit(batches[-1:]))[0].new
        whole = await read(store, DAY - 1, DAY + 1441)
        assert [(use.start_minute, use.minutes, use.key) for use in whole] == [
            *[(DAY - 1, 1, "search-ci"), (DAY - 1, 1, "")],
            *[(DAY, 1440, "search-ci"), (DAY, 1440, "")],
            *[(DAY + 1440, 1, "search-ci"), (DAY + 1440, 1, "")],
        ]
        day = whole[2]
        assert day == RequestUse(DAY, 1440, *ONE, 30, 0, 0, 0, 3000, 70, 80, 90, 100, (0, 30, *[0] * 14))
        assert (whole[3].refused, whole[3].errors, whole[3].team, whole[3].node) == (5, 5, "", "")
        hours = await read(store, DAY, DAY + 120)
        assert [(use.start_minute, use.minutes, use.requests) for use in hours if use.key] == [
            (DAY, 60, 18),
            (DAY + 60, 60, 6),
        ]
        assert [use.start_minute for use in await read(store, DAY + 1, DAY + 60) if use.key] == [DAY + 1, DAY + 59]


async def test_many_keys_are_numbered_at_once_and_again(database_url: str) -> None:
    clock = ManualClock(wall=DAY * 60.0)
    keys = [RequestKey("n", "m", "1", "team", f"key-{number}") for number in range(6000)]
    end = DAY * MINUTE

    def every(sequence: int) -> Batch:
        point = (end, SECOND, 1, 0, 0, 0, 5, 0, 0, 0, 0, 1, *[0] * 15)
        return Batch(StreamKey("proxy", 1), sequence, {}, {}, len(keys), requests={key: [point] for key in keys})

    async with Store(parse_database(database_url), clock) as store:
        await store.commit([every(1)])
    async with Store(parse_database(database_url), clock) as store:
        await store.commit([every(2)])
        found = await read(store, DAY - 1, DAY)
        assert len(found) == len(keys)
        assert {use.requests for use in found} == {2}
