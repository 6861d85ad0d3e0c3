"""What another process may do to an embedded database that is in use.

Everything here asks without waiting and asks again: the governator runs on the same event loop, and to block it while
it holds the lock would be to wait for oneself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from tests.waiting import eventually


@asynccontextmanager
async def locked(file: Path | str) -> AsyncIterator[sqlite3.Connection]:
    """Hold the database's write lock; ``ROLLBACK`` on the connection gives it back early."""
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
        await eventually(lambda: _asked(other, "BEGIN IMMEDIATE"), 10, "the database is locked")
        yield other


async def damage_in_use(file: Path) -> None:
    """Bring everything into the file itself and damage it, all but its first page."""
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
        await eventually(lambda: _asked(other, "PRAGMA wal_checkpoint(TRUNCATE)"), 10, "the log is empty")
    overwrite(file, 4096, file.stat().st_size - 4096)


def overwrite(file: Path, at: int, length: int) -> bytes:
    """Damage a file; returns what it is then."""
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(b"\xa5" * length)
    return file.read_bytes()


def _asked(other: sqlite3.Connection, statement: str) -> bool:
    try:
        answer = other.execute(statement).fetchone()
    except sqlite3.OperationalError:
        return False
    # A checkpoint answers (busy, ...), a transaction nothing.
    return answer is None or answer[0] == 0
