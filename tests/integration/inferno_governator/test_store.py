"""The store on both databases: schema, retention, and what the roll-ups hold."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import pkgutil
import sqlite3
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text
from sqlmodel import SQLModel

from inferno_governator import store
from inferno_governator.analysis.items import Purpose
from inferno_governator.store import retention, usage_reader
from inferno_governator.store.address import parse_database
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.engine import Database
from inferno_governator.store.migrations import versions
from inferno_governator.store.retention import Retention
from inferno_governator.store.rollups import CEILING
from inferno_governator.store.schema import METADATA, DeviceSample, ModelMinute, ModelSample, table
from inferno_governator.store.store import Store
from inferno_governator.store.usage_reader import UsageChunk
from inferno_governator.usage import Batch, Facts, SeriesKey, StreamKey
from inferno_runtime.clock import ManualClock, SystemClock
from inferno_runtime.errors import InvalidInput, Unavailable

MODEL = SeriesKey("model", "m", "1")
GPU = SeriesKey("gpu", "GPU-1", "")
SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


def batch(sequence: int, end: int = NOW, samples: int = 1, v: int = 1) -> Batch:
    return Batch(
        StreamKey("n", 1),
        sequence,
        {MODEL: [(end + i, SECOND, v, v, v, v, v, v, v, v) for i in range(samples)]},
        {GPU: [(end + i, SECOND, v, v, v, v) for i in range(samples)]},
        2 * samples,
        first_micros=end - SECOND,
        last_micros=end,
    )


async def count(url: str, model: type[SQLModel]) -> int:
    database = Database(parse_database(url), 5)
    async with database.read() as connection:
        found = (await connection.execute(select(func.count()).select_from(table(model)))).scalar_one()
    await database.close()
    return found


async def test_the_migrations_make_the_schema_that_the_code_declares(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    # Whoever keeps tables of his own declares them in a module that the store itself does not need.
    for module in pkgutil.iter_modules(store.__path__):
        importlib.import_module(f"{store.__name__}.{module.name}")
    async with Store(parse_database(database_url), ManualClock()):
        database = Database(parse_database(database_url), 5)
        async with database.read() as connection:
            assert await connection.run_sync(differences) == []
        await database.close()


@settings(max_examples=15)
@given(
    # Each time the stream begins anew: from which batch on the node sends again, how many it gets through, and whether
    # the governator was started anew before.
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8), st.booleans()), min_size=1, max_size=8)
)
def test_however_often_batches_come_again_each_counts_once(times: list[tuple[int, int, bool]]) -> None:
    async def sums(store: Store) -> list[int]:
        async with store.moment() as moment:
            items = [item async for chunk in moment.items(0, NOW // 60_000_000 + 100) for item in chunk]
        return [sum(item.requests for item in items), sum(item.compute_micros for item in items)]

    async def play(url: str) -> None:
        stored = 0
        store = Store(parse_database(url), ManualClock())
        async with AsyncExitStack() as running:
            await running.enter_async_context(store)
            for back, count, anew in times:
                if anew:
                    await running.aclose()
                    store = Store(parse_database(url), ManualClock())
                    await running.enter_async_context(store)
                # A node sends again what it holds for unacknowledged, and then goes on.
                first = max(1, stored + 1 - back)
                sent = range(first, first + count)
                outcome = await store.commit([batch(n, NOW + n * SECOND, v=n) for n in sent])
                assert [each.new for each in outcome] == [n > stored for n in sent]
                stored = max(stored, sent[-1])
                assert await sums(store) == [sum(range(1, stored + 1))] * 2

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(f"sqlite:///{folder}/governator.db"))


async def test_the_first_step_can_be_undone(database_url: str) -> None:
    from alembic.operations import Operations

    def undo(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            for step in sorted(pkgutil.iter_modules(versions.__path__), key=lambda each: each.name, reverse=True):
                importlib.import_module(f"{versions.__name__}.{step.name}").downgrade()

    async with Store(parse_database(database_url), ManualClock()):
        pass
    database = Database(parse_database(database_url), 5)
    async with database.write() as connection:
        await connection.run_sync(undo)
        await connection.execute(text("DELETE FROM alembic_version"))
    await database.close()
    async with Store(parse_database(database_url), ManualClock()) as store:
        assert [each.new for each in await store.commit([batch(1)])] == [True]


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    async with Store(parse_database(database_url), ManualClock()) as store:
        await store.commit([batch(1)])
    database = Database(parse_database(database_url), 5)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(InvalidInput, match=r"newer version of Inferno \(schema 9999; this version knows up to"):
        async with Store(parse_database(database_url), ManualClock()):
            pass
    assert await count(database_url, ModelSample) == 1


async def usage(store: Store, end_minute: int = 10**9) -> list[UsageChunk]:
    async with store.reading() as connection:
        return [chunk async for chunk in usage_reader.usage(connection, 0, end_minute)]


async def test_a_moment_does_not_change_while_it_is_read(database_url: str) -> None:
    async with Store(parse_database(database_url), ManualClock()) as store:
        async with store.moment() as moment:
            assert await moment.facts(10**9) == {}
            await store.commit([batch(1)])
            assert [chunk async for chunk in moment.items(0, 10**9)] == []
            assert await moment.devices(0, 10**9) == []
        async with store.moment() as moment:
            assert [device.device for device in await moment.devices(0, 10**9)] == [GPU.name]


async def test_what_is_billed_comes_as_items(database_url: str) -> None:
    priced = replace(batch(1), facts=Facts(price=60 * 4_000, region="eu-1"))
    async with Store(parse_database(database_url), ManualClock()) as store:
        await store.commit([priced, replace(batch(1, NOW + 60 * SECOND), stream=StreamKey("n", 2))])
        async with store.moment() as moment:
            items = [item for chunk in [each async for each in moment.items(0, 10**9)] for item in chunk]
    minute = (NOW - 1) // (60 * SECOND)
    assert [(item.start_minute, item.purpose, item.model, item.version) for item in items] == [
        (minute + at, *use) for at in (0, 1) for use in ((Purpose.WORK, "m", "1"), (Purpose.IDLE, "", ""))
    ]
    assert {(item.node, item.facts) for item in items} == {("n", priced.facts)}
    # A second of 4,000 micro-dollars a minute.
    assert [sum(item.cost_micros for item in items[at : at + 2]) for at in (0, 2)] == [66, 66]
    assert items[0].requests == 1


async def test_two_that_start_at_once_on_one_database_both_find_it_ready(database_url: str) -> None:
    async def begin(sequence: int) -> bool:
        async with Store(parse_database(database_url), ManualClock()) as store:
            return (await store.commit([batch(sequence)]))[0].new

    assert sorted(await asyncio.gather(begin(1), begin(1))) == [False, True]


async def test_samples_go_before_roll_ups_and_both_go_in_time(database_url: str) -> None:
    clock = ManualClock(wall=NOW / SECOND)
    hour, day = 3600 * SECOND, 86_400 * SECOND
    kept = Retention(raw_micros=hour, minute_micros=day, hour_micros=32 * day, day_micros=64 * day)
    many = retention.PIECE + 10
    async with Store(parse_database(database_url), clock) as store:
        await store.commit([batch(1, NOW - 2 * hour, samples=many), batch(2, NOW - SECOND)])
        assert await store.forget(kept) == 2 * many
        left = [await count(database_url, model) for model in (ModelSample, DeviceSample, ModelMinute, DeviceMinute)]
        assert left == [1, 1, 2, 2]
        clock.jump_wall(2 * 86_400)
        await store.settle()
        # Two samples and four roll-ups; the position of the stream stays for as long as its batches may come again.
        assert await store.forget(kept) == 2 + 4
        assert await store.forget(kept) == 0


async def test_windows_of_which_it_is_not_known_how_busy_a_device_was_do_not_count_as_idle(database_url: str) -> None:
    points = [(NOW, SECOND, SECOND // 2, 1, 1, 1), (NOW + SECOND, SECOND, -1, 1, 1, 1)]
    async with Store(parse_database(database_url), ManualClock()) as store:
        await store.commit([replace(batch(1), devices={GPU: points})])
        [chunk] = await usage(store)
    [use] = chunk.devices
    assert (use.window_micros, use.busy_micros, use.known_micros) == (2 * SECOND, SECOND // 2, SECOND)


async def test_sums_stop_at_the_ceiling_instead_of_overflowing(database_url: str) -> None:
    async with Store(parse_database(database_url), ManualClock()) as store:
        for sequence in (1, 2):
            await store.commit([batch(sequence, v=CEILING)])
        [chunk] = await usage(store, NOW // SECOND)
    [use] = chunk.models
    assert (use.requests, use.window_micros) == (CEILING, 2 * SECOND)


async def test_a_long_period_comes_in_chunks_of_whole_minutes(database_url: str) -> None:
    minutes = 50
    minute = 60 * SECOND
    async with Store(parse_database(database_url), ManualClock()) as store:
        # 1,000 series make a chunk of 20 minutes.
        keys = [SeriesKey("model", f"m{n}", "1") for n in range(1000)]
        for at in range(minutes):
            end = NOW + at * minute
            points = {key: [(end, SECOND, 1, 1, 1, 1, 1, 1, 1, 1)] for key in (keys if at == 0 else keys[:2])}
            await store.commit([Batch(StreamKey("n", 1), at + 1, points, {}, 1, None, 0, end, end)])
        chunks = await usage(store)
    assert [len(chunk.models) for chunk in chunks] == [1000 + 2 * 19, 40, 20]


async def test_names_beyond_what_is_remembered_are_found_again(tmp_path: Path) -> None:
    async with Store(parse_database(f"sqlite:///{tmp_path / 'x.db'}"), ManualClock(), names=1) as store:
        for sequence in (1, 2, 3):
            await store.commit([batch(sequence)])
        [chunk] = await usage(store)
    assert [use.requests for use in chunk.models] == [3]


async def test_what_waits_to_write_while_the_database_is_closed_is_told_so(database_url: str) -> None:
    database = Database(parse_database(database_url), 5)

    async def write() -> None:
        async with database.write():
            raise AssertionError("it was let in")

    async with Store(parse_database(database_url), ManualClock()):
        async with database.write():
            closing, late = asyncio.create_task(database.close()), asyncio.create_task(write())
            await ManualClock.settle()
            assert not closing.done()
        await closing
        with pytest.raises(Unavailable, match="has just been replaced"):
            await late


async def test_what_is_cancelled_in_the_middle_of_a_transaction_leaves_no_lock(tmp_path: Path) -> None:
    kept = Retention(raw_micros=1, minute_micros=1, hour_micros=1, day_micros=1)

    async def keep(store: Store) -> None:
        while True:
            await store.settle()
            await store.forget(kept)

    # Each time it is cancelled somewhere else; without the rollback about one in fifty leaves the file locked.
    for turns in range(0, 2000, 25):
        file = tmp_path / f"{turns}.db"
        async with Store(parse_database(f"sqlite:///{file}"), SystemClock()) as store:
            keeping = asyncio.create_task(keep(store))
            for _ in range(turns):
                await asyncio.sleep(0)
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
