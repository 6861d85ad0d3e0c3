"""A PostgreSQL that is down, full of somebody else's tables, or will not have us."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks.postgres import PostgresServer
from inferno_governator.store.address import parse_database
from inferno_governator.store.store import Store
from inferno_runtime.clock import SystemClock
from inferno_runtime.errors import Broken, InfernoError, InvalidInput, NotFound, Unauthenticated, Unavailable
from tests.integration.inferno_governator.governators import governator
from tests.integration.inferno_governator.nodes import batch


async def refusal(url: str) -> InfernoError:
    with pytest.raises(InfernoError) as refused:
        async with Store(parse_database(url), SystemClock()):
            pass
    return refused.value


async def test_while_the_server_is_down_nothing_is_acknowledged_and_afterwards_all_of_it(
    postgres_server: PostgresServer, postgres_url: str, socket_dir: Path
) -> None:
    async with governator(postgres_url, socket_dir) as client:
        await client.store([batch(1)])
        postgres_server.stop("immediate")
        try:
            async with client.stream() as stream:
                await stream.send(batch(2))
                with pytest.raises(Unavailable) as refused:
                    await stream.rest()
            assert refused.value.retry_after
        finally:
            postgres_server.resume()
        await client.store([batch(2)])
        assert await client.requests() == 2


async def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    error = await refusal(f"postgresql://me:hush@/inferno?host={tmp_path}")
    assert isinstance(error, Unavailable)
    assert "postgresql://me:***@/inferno" in str(error)
    assert "hush" not in error.sentence()


async def test_a_database_that_does_not_exist_is_named(postgres_server: PostgresServer) -> None:
    error = await refusal(postgres_server.url("nowhere"))
    assert isinstance(error, NotFound)
    assert "nowhere" in str(error)


async def test_a_user_the_server_does_not_know_is_named(postgres_server: PostgresServer) -> None:
    error = await refusal(postgres_server.url("postgres", user="stranger"))
    assert isinstance(error, Unauthenticated)
    assert "stranger" in str(error)


async def test_a_wrong_password_is_refused_and_not_repeated(postgres_server: PostgresServer) -> None:
    user = f"keeper_{uuid4().hex}"
    postgres_server.run(f"CREATE USER {user} PASSWORD 'right'")
    postgres_server.require_password(user)
    error = await refusal(postgres_server.url("postgres", user=f"{user}:hush"))
    assert isinstance(error, Unauthenticated)
    assert "password" in error.fix
    assert "hush" not in error.sentence()


async def test_a_user_who_may_not_create_tables_is_told_what_to_grant(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    user = f"guest_{uuid4().hex}"
    postgres_server.run(f"CREATE USER {user}")
    database = parse_database(postgres_url).url.database
    assert database is not None
    error = await refusal(postgres_server.url(database, user=user))
    assert isinstance(error, InvalidInput)
    assert "Grant this user CREATE" in error.fix


async def test_tables_of_another_program_under_our_names_are_left_alone(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    database = parse_database(postgres_url).url.database
    assert database is not None
    postgres_server.run("CREATE TABLE node (leaf boolean)", database)
    error = await refusal(postgres_url)
    assert isinstance(error, InvalidInput)
    assert "'node' that is not ours" in str(error)
    assert postgres_server.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database) == "1"


async def test_a_batch_that_the_database_will_not_take_does_not_hold_up_the_others(
    postgres_server: PostgresServer, postgres_url: str, socket_dir: Path
) -> None:
    database = parse_database(postgres_url).url.database
    assert database is not None
    async with governator(postgres_url, socket_dir) as client:
        postgres_server.run("ALTER TABLE model_sample ADD CHECK (requests <> 13)", database)
        async with client.stream() as good, client.stream() as bad:
            await bad.send(batch(1, "bad", requests=13))
            await good.send(batch(1, "good"))
            await good.acknowledged(1)
            with pytest.raises(Broken, match="refuses a statement"):
                await bad.rest()
        assert await client.requests() == 1
