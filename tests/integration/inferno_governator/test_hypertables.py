"""TimescaleDB as far as it goes without one: a PostgreSQL with functions of its names and signatures."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from inferno_governator.store import hypertables
from inferno_governator.store.address import parse_database
from inferno_governator.store.device_schema import DeviceMinute
from inferno_governator.store.hypertables import TABLES, creation, drop
from inferno_governator.store.schema import METADATA, DeviceSample, ModelSample
from inferno_governator.store.store import Store
from tests.integration.inferno_governator.test_books import KEPT, Fleet, an_hour, bill, clock_at, count, items

STAND_IN = (Path(__file__).parent / "timescale_standin.sql").read_text()


async def run(url: str, *statements: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return list(await connection.fetch(statements[-1]))
    finally:
        await connection.close()


async def test_an_extension_that_comes_later_takes_the_tables_and_what_is_old_goes_by_the_chunk(
    postgres_url: str,
) -> None:
    clock = clock_at(60)
    async with Store(parse_database(postgres_url), clock) as store:
        await Fleet(store).send(*an_hour("n", 0))
    await run(postgres_url, STAND_IN, "SELECT 1")
    for _ in range(2):
        async with Store(parse_database(postgres_url), clock) as store:
            before = bill(await items(store))
    made = await run(postgres_url, "SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1")
    assert [row["hypertable_name"] for row in made] == sorted(each.name for each in TABLES)
    async with Store(parse_database(postgres_url), clock) as store:
        clock.jump_wall(14 * 60)
        # Samples are kept for an hour: those of the first ten minutes are a chunk that is over, the next one is not.
        await store.forget(KEPT)
        assert await count(postgres_url, ModelSample) == await count(postgres_url, DeviceSample) == 60 - 9
        fleet = Fleet(store)
        await fleet.send(*an_hour("m", 1, 15))
        clock.jump_wall(2 * 86_400)
        await store.settle()
        both = bill(await items(store))
        await store.forget(KEPT)
        assert await count(postgres_url, DeviceMinute) == 0
        assert bill(await items(store)) == both
        assert before.items() <= both.items()


async def test_an_extension_that_cannot_be_used_leaves_the_tables_as_they_are(postgres_url: str) -> None:
    refusing = STAND_IN.replace("DECLARE fresh boolean;", "DECLARE fresh boolean := 1 / 0;")
    await run(postgres_url, refusing, "SELECT 1")
    clock = clock_at(60)
    async with Store(parse_database(postgres_url), clock) as store:
        await Fleet(store).send(*an_hour("n", 0))
        clock.jump_wall(10 * 86_400)
        await store.settle()
        await store.forget(KEPT)
        assert await count(postgres_url, DeviceMinute) == await count(postgres_url, ModelSample) == 0


def test_the_statements_are_those_that_every_version_has() -> None:
    assert creation("public", TABLES[0]) == (
        "SELECT \"public\".create_hypertable('model_sample', 'time_micros', chunk_time_interval => 600000000::bigint, "
        "create_default_indexes => FALSE, if_not_exists => TRUE, migrate_data => TRUE)"
    )
    assert drop('a"b', "model_minute", 7) == ('SELECT "a""b".drop_chunks(\'model_minute\', older_than => 7::bigint)')


def test_every_unique_index_of_a_hypertable_has_its_time_column() -> None:
    for each in hypertables.TABLES:
        table = METADATA.tables[each.name]
        assert not table.c[each.column].nullable
        key = [column.name for column in table.primary_key]
        assert not key or each.column in key
        assert all(each.column in index.columns for index in table.indexes if index.unique)
