"""Connections: one that writes and some that read, set up so that what is committed is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from inferno_governator.store.address import DatabaseAddress
from inferno_governator.store.faults import RETRY_AFTER, explained
from inferno_runtime.errors import Unavailable

# Any number of our own: who holds it is the one writer of this PostgreSQL database.
_WRITER_LOCK = 0x496E6672
_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 60
_ASK_AGAIN_SECONDS = 0.01


class Database:
    """Engines of one database. Transactions that write are one at a time, here and among processes."""

    def __init__(self, address: DatabaseAddress, busy_seconds: float) -> None:
        self.address = address
        self._writing = asyncio.Lock()
        self._users = 0
        self._closed = False
        if address.file is not None:
            self._writer = _sqlite(address, busy_seconds, writes=True)
            self._reader = _sqlite(address, busy_seconds, writes=False)
        else:
            self._writer = self._reader = _postgres(address)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end, on disk when this returns, and undone by an exception.

        Raises:
            InfernoError: As :func:`inferno_governator.store.faults.explained`.
        """
        with explained(str(self.address)):
            async with self._using(), self._writing:
                self._refuse_closed()
                async with self._writer.begin() as connection:
                    if self.address.file is None:
                        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITER_LOCK})
                    yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database and changes nothing.

        Raises:
            InfernoError: As :func:`inferno_governator.store.faults.explained`.
        """
        with explained(str(self.address)):
            self._refuse_closed()
            async with self._using(), self._reader.connect() as connection:
                if self.address.file is None:
                    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
                yield connection

    @property
    def closed(self) -> bool:
        """True once its file may be taken away under whoever still reads it."""
        return self._closed

    def replaced(self) -> Unavailable:
        """What is said to those who come too late for it."""
        return Unavailable(
            f"The database {self.address} has just been replaced.",
            reason="DATABASE_UNAVAILABLE",
            fix="Try again.",
            retry_after=RETRY_AFTER,
        )

    def _refuse_closed(self) -> None:
        if self._closed:
            raise self.replaced()

    async def close(self) -> None:
        """Close every connection, once the transactions that run have ended. Safe to call again."""
        async with self._writing:
            self._closed = True
        await self._dispose_unless_used()

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[None]:
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._closed:
                await self._dispose_unless_used()

    async def _dispose_unless_used(self) -> None:
        # A connection that comes back to a pool that is disposed of would stay open.
        if not self._users:
            await self._reader.dispose()
            await self._writer.dispose()


def _sqlite(address: DatabaseAddress, busy_seconds: float, *, writes: bool) -> AsyncEngine:
    engine = create_async_engine(address.url, pool_size=1 if writes else 4, connect_args={"timeout": busy_seconds})
    pragmas = [
        f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}",
        # FULL: with NORMAL a commit is in the log but not yet on disk, and a power cut would take back what the node
        # was told is stored.
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA temp_store = MEMORY",
    ]
    if writes:
        pragmas += [
            # A log that grew under a long report is cut back to this.
            "PRAGMA journal_size_limit = 67108864",
        ]
    else:
        pragmas.append("PRAGMA query_only = ON")

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        # Python's driver begins transactions by itself, too late to be IMMEDIATE; here it does not.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()
        if writes:
            connection.run_async(lambda driver: _use_wal(driver, busy_seconds))

    @event.listens_for(engine.sync_engine, "invalidate")
    def on_invalidate(connection: Any, _: object, __: object) -> None:
        # Whoever was in the middle of a statement was cancelled. SQLite closes a connection only when its last cursor
        # is collected, and until then the file would stay locked.
        connection.run_async(_undo)

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        # IMMEDIATE: a transaction that reads before it writes could not wait for another writer to finish.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


async def _undo(connection: aiosqlite.Connection) -> None:
    """End the transaction of a connection that is given up, if it has one."""
    # It may have been closed already, or be what has failed: then there is nothing to undo.
    with contextlib.suppress(ValueError, sqlite3.Error):
        await connection.rollback()


async def _use_wal(connection: aiosqlite.Connection, busy_seconds: float) -> None:
    """Set the write-ahead log, which the file remembers.

    Two that start on one new file both change it, and SQLite refuses one at once, whatever its busy timeout: each
    holds the shared lock that the other waits for (https://sqlite.org/c3ref/busy_handler.html). The one that is
    refused has let go, so it only has to ask again.
    """
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
        else:
            return


def _postgres(address: DatabaseAddress) -> AsyncEngine:
    return create_async_engine(
        address.url,
        pool_size=5,
        # A connection that died while idle is replaced unnoticed.
        pool_pre_ping=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _STATEMENT_SECONDS,
            # Whatever the server's default: a commit returns when it is on disk.
            "server_settings": {"application_name": "inferno-governator", "synchronous_commit": "on", "jit": "off"},
        },
    )
