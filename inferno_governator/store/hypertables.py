"""TimescaleDB, where a PostgreSQL has it: samples and minutes lie in chunks of time, and what is old goes by the chunk.

The statements keep to what every TimescaleDB 2 has: the interface of ``create_hypertable`` before 2.13, which later
versions keep beside the new one (https://docs.timescale.com/api/latest/hypertable/create_hypertable_old/,
https://docs.timescale.com/api/latest/hypertable/drop_chunks/). A unique index of a hypertable must have its time
column.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from inferno_runtime import logs

_LOG = logs.get("governator.store")
# By its function, so that it is found in whatever schema it was created.
FIND = (
    "SELECT n.nspname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
    "WHERE p.proname = 'create_hypertable' LIMIT 1"
)
# Creating it where the server has not loaded it ends the connection; who may not see what is loaded may not create it.
OFFERED = (
    "SELECT count(*) FROM pg_catalog.pg_available_extensions e, pg_catalog.pg_settings s WHERE e.name = 'timescaledb' "
    "AND s.name = 'shared_preload_libraries' AND s.setting LIKE '%timescaledb%'"
)
CREATE_EXTENSION = "CREATE EXTENSION IF NOT EXISTS timescaledb"
KNOWN = "SELECT pg_catalog.to_regclass('timescaledb_information.hypertables') IS NOT NULL"
IS_ONE = (
    "SELECT count(*) FROM timescaledb_information.hypertables "
    "WHERE hypertable_schema = current_schema() AND hypertable_name = :name"
)


@dataclass(frozen=True, slots=True)
class Hypertable:
    """A table, the column of its time, and how long a chunk is in the unit of that column."""

    name: str
    column: str
    chunk: int


# Chunks of ten minutes of samples and of six hours of minutes: a tenth of what the defaults keep, or more.
TABLES = (
    Hypertable("model_sample", "time_micros", 600_000_000),
    Hypertable("device_sample", "time_micros", 600_000_000),
    Hypertable("model_minute", "minute", 360),
    Hypertable("device_minute", "minute", 360),
    Hypertable("request_minute", "minute", 360),
)
_NAMES = frozenset(each.name for each in TABLES)


def creation(schema: str, each: Hypertable) -> str:
    """The statement that makes a table, with what it holds, a hypertable; of one that is nothing changes."""
    return (
        f"SELECT {_quoted(schema)}.create_hypertable('{each.name}', '{each.column}', "
        f"chunk_time_interval => {each.chunk}::bigint, create_default_indexes => FALSE, if_not_exists => TRUE, "
        "migrate_data => TRUE)"
    )


def drop(schema: str, name: str, before: int) -> str:
    """The statement that drops the chunks of a hypertable that lie before a time as a whole."""
    return f"SELECT {_quoted(schema)}.drop_chunks('{name}', older_than => {before}::bigint)"


def adopt(connection: Connection) -> None:
    """Use the extension if the database has it, or offers it and lets us create it; otherwise tables stay plain ones.

    Called whenever a database is opened, so that an extension that comes later is used from the next start on.
    """
    if connection.dialect.name != "postgresql":
        return
    try:
        with connection.begin_nested():
            schema = connection.execute(text(FIND)).scalar()
            if schema is None and connection.execute(text(OFFERED)).scalar():
                connection.execute(text(CREATE_EXTENSION))
                schema = connection.execute(text(FIND)).scalar()
            if schema is not None:
                for each in TABLES:
                    connection.execute(text(_escaped(creation(schema, each))))
    except DBAPIError as error:
        _LOG.warning("TimescaleDB is there and cannot be used; tables stay as they are", error=str(error.orig))
    else:
        _LOG.info("tables of samples and minutes", hypertables=schema is not None)


async def drop_old(connection: AsyncConnection, old: Table, before: int) -> int | None:
    """Drop the chunks of a table that are old as a whole; how many went, None where it is no hypertable."""
    if old.name not in _NAMES or connection.dialect.name != "postgresql":
        return None
    if not (await connection.execute(text(KNOWN))).scalar():
        return None
    if not (await connection.execute(text(IS_ONE), {"name": old.name})).scalar():
        return None
    schema = (await connection.execute(text(FIND))).scalar_one()
    return len((await connection.execute(text(_escaped(drop(schema, old.name, before))))).all())


def _quoted(schema: str) -> str:
    return '"' + schema.replace('"', '""') + '"'


def _escaped(statement: str) -> str:
    """A statement without parameters: its casts are no names of any."""
    return statement.replace("::", r"\:\:")
