"""An embedded database that is locked, full, damaged, or somebody else's."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from inferno_governator.analysis.cost import FactsChange
from inferno_governator.store.address import parse_database
from inferno_governator.store.sqlite_file import prepare
from inferno_governator.store.store import Store
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import InvalidInput, Unavailable
from tests.integration.inferno_governator.governators import governator, governator_process
from tests.integration.inferno_governator.nodes import FACTS, batch
from tests.integration.inferno_governator.other_process import damage_in_use, locked, overwrite


def file_of(url: str) -> Path:
    file = parse_database(url).file
    assert file is not None
    return file


def aside(file: Path) -> list[Path]:
    """What was set aside, without its log."""
    return [path for path in file.parent.glob(f"{file.name}.corrupt-*") if not path.name.endswith(("-wal", "-shm"))]


async def test_while_another_process_locks_the_database_nothing_is_acknowledged_and_afterwards_all_of_it(
    sqlite_url: str, socket_dir: Path
) -> None:
    async with governator(sqlite_url, socket_dir, db_busy_seconds=0.1) as client:
        await client.store([batch(1)])
        async with locked(file_of(sqlite_url)) as other:
            async with client.stream() as stream:
                await stream.send(batch(2), batch(3))
                with pytest.raises(Unavailable, match="locked by another process") as refused:
                    await stream.rest()
            assert refused.value.retry_after
            # The bill can be read all the while.
            assert await client.requests() == 1
            other.execute("ROLLBACK")
        await client.store([batch(2), batch(3)])
        assert await client.requests() == 3


async def test_while_the_disk_is_full_nothing_is_acknowledged_and_afterwards_all_of_it(sqlite_url: str) -> None:
    async with governator_process(sqlite_url) as running:
        await running.client.store([batch(1)])
        unlimited = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
        async with running.client.stream() as stream:
            await stream.send(batch(2))
            with pytest.raises(Unavailable, match="disk"):
                await stream.rest()
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
        await running.client.store([batch(2)])
        assert await running.client.requests() == 2


@pytest.mark.parametrize(("at", "length"), [(0, 64), (0, 100_000), (4096, 8192)])
async def test_a_damaged_file_is_set_aside_at_start_and_a_new_one_is_begun(
    sqlite_url: str, socket_dir: Path, at: int, length: int
) -> None:
    file = file_of(sqlite_url)
    async with governator(sqlite_url, socket_dir) as client:
        await client.store([batch(n) for n in range(1, 200)])
    damaged = overwrite(file, at, length)
    async with governator(sqlite_url, socket_dir) as client:
        await client.store([batch(200)])
        assert await client.requests() == 1
    [kept] = aside(file)
    assert kept.read_bytes() == damaged


async def test_damage_found_in_use_sets_the_file_aside_and_storing_goes_on(sqlite_url: str, socket_dir: Path) -> None:
    file = file_of(sqlite_url)
    async with governator(sqlite_url, socket_dir) as client:
        await client.store([batch(n) for n in range(1, 200)])
        await damage_in_use(file)
        async with client.stream() as stream:
            await stream.send(batch(200))
            with pytest.raises(Unavailable, match="damaged"):
                await stream.rest()
        await client.store([batch(200)])
        assert await client.requests() == 1
    assert len(aside(file)) == 1


async def test_nodes_reconnect_after_damage_so_that_the_new_database_learns_their_prices(
    sqlite_url: str, socket_dir: Path
) -> None:
    file = file_of(sqlite_url)
    async with governator(sqlite_url, socket_dir) as client, client.stream() as stream:
        await stream.send(batch(1, facts=FACTS))
        await stream.acknowledged(1)
        await damage_in_use(file)
        with pytest.raises(Unavailable, match="damaged"):
            await client.report()
        with pytest.raises(Unavailable) as ended:
            await stream.rest()
        assert ended.value.reason == "DATABASE_REPLACED"


async def facts(store: Store) -> dict[str, list[FactsChange]]:
    async with store.moment() as moment:
        return await moment.facts(10**9)


async def test_two_readers_that_find_the_damage_set_the_file_aside_once(sqlite_url: str) -> None:
    file = file_of(sqlite_url)
    async with Store(parse_database(sqlite_url), SystemClock()) as store:
        await damage_in_use(file)
        found = await asyncio.gather(facts(store), facts(store), return_exceptions=True)
        # The slower one may find the damage, or the file gone.
        said = sorted(str(each).partition("governator.db ")[2].partition(":")[0] for each in found)
        assert said in (["is damaged"] * 2, ["has just been replaced.", "is damaged"]), found
        assert await facts(store) == {}
    assert len(aside(file)) == 1


async def test_a_database_that_another_program_made_is_left_alone(sqlite_url: str, socket_dir: Path) -> None:
    file = file_of(sqlite_url)
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = file.read_bytes()
    with pytest.raises(InvalidInput, match="another program"):
        async with Store(parse_database(sqlite_url), SystemClock()):
            pass
    assert file.read_bytes() == before


def test_a_file_that_is_no_database_and_is_not_named_like_one_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("# Not a database\n")
    with pytest.raises(InvalidInput, match="no SQLite database"):
        prepare(file)
    assert file.read_text() == "# Not a database\n"


def test_an_empty_file_is_a_database_that_has_not_begun(tmp_path: Path) -> None:
    file = tmp_path / "new.db"
    file.touch()
    assert prepare(file) is None
    assert file.exists()


def test_a_folder_in_the_place_of_the_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Is a directory"):
        prepare(tmp_path)


def test_a_locked_database_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    file = tmp_path / "busy.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert prepare(file, patience=0.05) is None
    assert file.exists()


def test_a_database_too_large_to_check_at_start_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "large.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"PRAGMA application_id = {int.from_bytes(b'Infr', 'big')}")
        other.execute("CREATE TABLE t (x)")
        other.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 50000) "
            "INSERT INTO t SELECT i FROM n"
        )
    assert prepare(file, patience=0.0) is None
